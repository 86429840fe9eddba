"""Sources of papers: OpenAlex, Crossref, Semantic Scholar, PubMed and arXiv."""
