"""Export an adapter to a served model: merge, convert, quantize, Ollama, registry."""
