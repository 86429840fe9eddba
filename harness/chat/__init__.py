"""Chat with the producer model, and the loop in which it calls skills as tools."""
