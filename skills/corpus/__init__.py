"""The skill /corpus: store, search, count, map and export papers and their annotations."""
