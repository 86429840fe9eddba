"""Where models are served: in this process, by Ollama, or by an OpenAI-compatible server."""
