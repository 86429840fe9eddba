"""What a model may do besides answering: the user's consent, asked for and remembered."""
