"""/annotate: the abstract of a paper, taken apart in the moves of a framework."""
