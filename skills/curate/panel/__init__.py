"""The panel of personas and how it votes."""
