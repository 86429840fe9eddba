"""/annotate TABLE save to FOLDER/ --on ray-data: Parquet parts, written by the nodes."""
