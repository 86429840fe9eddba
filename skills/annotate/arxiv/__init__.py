"""Papers from arXiv: requests, cache, ids, search."""
