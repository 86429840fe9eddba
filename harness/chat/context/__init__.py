"""What a conversation contains besides what is said: attached files, and a project's AGENTS.md."""
