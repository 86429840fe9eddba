"""The sentence selector: from which sentence of an abstract each move comes, or that none does."""
