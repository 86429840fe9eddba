"""What is curated, and the checks that need no model."""
