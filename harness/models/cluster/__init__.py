"""Run models on the nodes of a Ray cluster. Ray is imported only inside functions."""
