"""The model at Ollama: its Modelfile, how it is made there and verified."""
