"""Decide whether two records are of the same paper, without a database."""
