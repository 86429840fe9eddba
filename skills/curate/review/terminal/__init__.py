"""A review on a terminal."""
