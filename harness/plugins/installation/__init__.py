"""Copying skills of others into the user's folder, without running anything of them."""
