"""/curate: which annotations are good enough to train on, and why the others are not."""
