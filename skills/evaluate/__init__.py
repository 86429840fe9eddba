"""Comparing annotators on papers: metrics with intervals."""
