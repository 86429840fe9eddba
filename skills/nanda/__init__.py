"""The Nanda framework: moves as data, papers, reply formats, and checks without a model."""
