"""The version of the harness, in a module without imports."""

__version__ = "0.1.0"
