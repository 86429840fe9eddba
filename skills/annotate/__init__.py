"""/annotate: paper abstracts annotated with the moves of a framework."""
