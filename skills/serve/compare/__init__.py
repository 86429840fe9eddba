"""The pages that compare: evaluations with each other, training runs, and curations."""
