"""Look papers up at sources: by their ids, by a query, and what is unknown about them."""
