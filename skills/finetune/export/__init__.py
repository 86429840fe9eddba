"""From the adapter to a model that is served: merge, convert, quantize, Ollama, registry."""
