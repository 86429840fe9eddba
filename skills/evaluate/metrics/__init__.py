"""Metrics of an annotator, with intervals."""
