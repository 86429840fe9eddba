"""Extractive wording: moves that are passages of the abstract."""
