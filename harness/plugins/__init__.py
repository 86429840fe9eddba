"""Find, check, trust and load plugins."""
