"""A corpus in a folder of Parquet parts, with an index beside them; no database server."""
