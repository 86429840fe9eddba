"""Full-text search and filters over the corpus."""
