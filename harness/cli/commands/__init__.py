"""The framework's own commands: skills like all others, given the application they serve."""
