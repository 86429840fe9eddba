"""The base model and its adapter: found, checked, loaded."""
