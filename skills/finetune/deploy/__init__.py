"""Ollama and the user's registry."""
