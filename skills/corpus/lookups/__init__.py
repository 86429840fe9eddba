"""Look up papers at sources, by their ids or a query, and complete the facts in the corpus."""
