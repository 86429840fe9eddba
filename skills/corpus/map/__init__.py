"""Map a field: clusters of papers by move, their years, and a matrix that shows gaps."""
