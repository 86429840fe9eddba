"""The built-in tools of the chat model: files, commands, and questions to the user."""
