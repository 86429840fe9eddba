"""The command line: one-shot command, interactive session, help, completion."""
