"""Anchors: the sentences of an abstract that a move comes from."""
