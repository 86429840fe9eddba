"""Build the training set from tables of annotations, accounting for every row."""
