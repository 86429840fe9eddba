"""Run models on the nodes of a Ray cluster. Ray is only imported inside functions."""
