"""Readers and writers of tables: text, spreadsheets, Parquet, Markdown lists."""
