"""Parquet files: one, or those of a folder or pattern as one table."""
