"""Papers from arXiv, by id and by topic."""
