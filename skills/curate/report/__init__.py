"""The report of a curation."""
