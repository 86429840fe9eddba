"""Sources of papers: the services OpenAlex, Crossref, Semantic Scholar, PubMed and arXiv."""
