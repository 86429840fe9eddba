"""Annotations as folders that people edit, too: an Obsidian vault, a dataset of the Hub."""
