"""From an adapter to files that llama.cpp reads: merged, converted, quantized, read back."""
