"""The report of papers that came from several sources, and how to split them."""
