"""Read a corpus from a folder of Parquet files, called parts, with an index."""
