"""The engines and servers that run models: embedded, Ollama and OpenAI-compatible."""
