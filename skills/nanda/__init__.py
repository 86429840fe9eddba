"""The Nanda framework: moves, papers, formats of replies, and checks without a model."""
