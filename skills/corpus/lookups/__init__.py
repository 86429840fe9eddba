"""Papers by id and by query from OpenAlex, Crossref, Semantic Scholar, PubMed and arXiv."""
