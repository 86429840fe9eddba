"""Decide whether two records describe the same paper, without access to the database."""
