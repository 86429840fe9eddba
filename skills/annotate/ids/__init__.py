"""Papers that a line names by their ids: one, or those of a list."""
