"""Annotate a table into a folder of Parquet files, with or without Ray Data."""
