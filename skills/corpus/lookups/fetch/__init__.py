"""What a search of several sources finds: merged, and saved."""
