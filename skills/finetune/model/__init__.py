"""Find, check and load the base model and its adapter."""
