"""/evaluate: compare annotators on the same papers, by metrics with confidence intervals."""
