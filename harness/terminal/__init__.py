"""Standard streams, and rendering on a terminal."""
