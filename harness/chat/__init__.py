"""Chat with the producer model, which may call skills as tools."""
