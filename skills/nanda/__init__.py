"""The Nanda framework: its moves as data, papers, and what can be checked without a model."""
