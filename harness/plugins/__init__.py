"""Finding, checking, trusting and loading plugins."""
