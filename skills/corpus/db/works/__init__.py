"""Which rows of papers are one paper, and by which rule."""
