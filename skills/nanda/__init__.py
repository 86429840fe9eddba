"""The Nanda framework: definitions of moves, papers, reply formats, and checks without a model."""
