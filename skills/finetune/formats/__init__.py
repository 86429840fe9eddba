"""Readers and writers of GGUF, safetensors and adapter files."""
