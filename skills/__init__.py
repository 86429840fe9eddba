"""The skills that ship with the harness: each folder is a SKILL.md and a small plugin."""
