"""The public Agent Skills format (SKILL.md)."""
