"""Page through the papers of a corpus database: search, conditions, facets with counts, sorting."""
