"""The stage `prepare`: split, render and tokenize the rows of a data set."""
