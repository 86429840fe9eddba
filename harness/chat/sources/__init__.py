"""The tools of a chat model: skills, prompt skills, and the built-in tools."""
