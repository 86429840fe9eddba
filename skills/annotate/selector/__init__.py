"""The selector: from which passage of an abstract each move comes, or that none does."""
