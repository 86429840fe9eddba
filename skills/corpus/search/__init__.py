"""Search and filter the annotations of a corpus."""
