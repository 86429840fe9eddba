"""One model on several equal servers."""
