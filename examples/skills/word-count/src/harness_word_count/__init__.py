"""/word-count, a skill for the harness."""
