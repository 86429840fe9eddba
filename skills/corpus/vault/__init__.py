"""`save to vault/`: an Obsidian vault with a note for each paper."""
