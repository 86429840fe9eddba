"""/curate: keep the annotations that are good enough to train on, and explain the others."""
