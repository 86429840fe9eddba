"""The model that is tuned: found, looked at, loaded."""
