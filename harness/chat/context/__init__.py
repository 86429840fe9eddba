"""What a request contains besides the tools: messages that fit, files, AGENTS.md and skills."""
