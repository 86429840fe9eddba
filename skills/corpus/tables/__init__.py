"""Read and write tables: text, spreadsheets, Parquet, Markdown lists."""
