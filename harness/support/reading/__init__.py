"""Reading files and text that may come from anywhere, within limits."""
