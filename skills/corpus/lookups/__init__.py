"""Look papers up at sources: by their ids, by a query, and to complete the corpus."""
