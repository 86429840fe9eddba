"""A corpus in a folder of Parquet files (parts), with an index."""
