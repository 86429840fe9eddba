"""Save the annotations of a table to a folder of Parquet files, with or without Ray Data."""
