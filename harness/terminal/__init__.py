"""Standard streams and screens."""
