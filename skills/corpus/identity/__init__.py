"""Decide whether two records describe the same paper, without a database."""
