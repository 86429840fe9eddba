"""What a run takes, before any weight is loaded."""
