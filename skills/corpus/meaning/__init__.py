"""Search by meaning: vectors of the moves, and their fusion with the full text."""
