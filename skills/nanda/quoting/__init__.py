"""Extractive annotations: moves that consist of passages of the abstract."""
