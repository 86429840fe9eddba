"""Look up papers at sources: by id, by a query, or to complete the corpus."""
