"""Look up papers at sources: papers of an id list or a query, or facts that the corpus lacks."""
