"""Build the training set from tables of annotations, and record every row that is left out."""
