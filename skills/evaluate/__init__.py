"""Comparing annotators on papers: what each is worth, with intervals."""
