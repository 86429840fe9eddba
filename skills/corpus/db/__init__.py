"""The corpus database."""
