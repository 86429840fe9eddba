"""Doubt a reworded move: its words are in the abstract, but not with these neighbours."""
