"""Backends that run models: the embedded engine, Ollama, and OpenAI-compatible servers."""
