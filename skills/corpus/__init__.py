"""/corpus: store, search, count, map and export papers and annotations."""
