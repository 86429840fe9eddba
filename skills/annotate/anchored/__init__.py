"""Generate annotations that quote the abstract: the form `anchored`, with the sentence selector."""
