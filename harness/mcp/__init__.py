"""The Model Context Protocol: skills as tools of other programs, and servers as tools of a chat."""
