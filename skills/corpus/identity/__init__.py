"""Decide whether two records describe the same paper; independent of the database."""
