"""Turn an adapter into a served model: merge, convert, quantize, create in Ollama, register."""
