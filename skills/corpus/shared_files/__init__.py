"""Markdown files that a person and the harness write: some properties and one block are ours."""
