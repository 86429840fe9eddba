"""The Agent Client Protocol: the harness as an agent in an editor."""
