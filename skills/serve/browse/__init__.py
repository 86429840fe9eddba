"""The pages of the corpus: papers with search and facets, and each paper."""
