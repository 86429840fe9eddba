"""Map a field: clusters of moves, their timeline, and a matrix that shows gaps."""
