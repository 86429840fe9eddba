"""The Model Context Protocol: offer skills to other programs, and use tools of servers."""
