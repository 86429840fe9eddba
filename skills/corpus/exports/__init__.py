"""Export annotations to folders that people also edit: an Obsidian vault, a Hub dataset."""
