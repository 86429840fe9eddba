"""Annotations as folders: an Obsidian vault and a dataset of the Hub, which people edit, too."""
