"""Models on the nodes of a Ray cluster. Ray is imported inside functions only."""
