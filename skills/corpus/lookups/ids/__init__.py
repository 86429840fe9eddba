"""Papers by their ids: lists of them, and where they are found."""
