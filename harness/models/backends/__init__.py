"""The backends that run models: embedded engine, Ollama and OpenAI-compatible servers."""
