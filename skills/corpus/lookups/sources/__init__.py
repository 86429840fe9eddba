"""One module for each source of papers, all behind `source.Source`."""
