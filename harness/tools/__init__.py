"""The built-in tools of a chat model: files, commands, and questions to the user."""
