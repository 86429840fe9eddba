"""Passing the least certain papers of a table on to better models."""
