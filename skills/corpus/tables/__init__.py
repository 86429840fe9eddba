"""Read and write tables of papers: text files, spreadsheets, Parquet files, Markdown lists."""
