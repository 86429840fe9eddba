"""The model in the user's own registry."""
