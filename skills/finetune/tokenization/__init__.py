"""The stage `prepare`: split, render and tokenize the training rows."""
