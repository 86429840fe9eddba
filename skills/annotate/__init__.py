"""/annotate: annotate abstracts of papers with the moves of a framework."""
