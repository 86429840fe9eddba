"""What a person or a pipe meets: one-shot command, session, help, completion."""
