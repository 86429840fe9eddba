"""Gold is made by people: /curate --review."""
