"""Read and write tables of papers: text tables, spreadsheets, Parquet files, Markdown lists."""
