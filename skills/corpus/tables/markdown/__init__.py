"""Tables as lists in Markdown: read, and written."""
