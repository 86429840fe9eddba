"""Read a corpus from a folder of Parquet files, its parts, with an index."""
