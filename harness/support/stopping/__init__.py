"""Stopping: Ctrl-C, cancellation and time limits, whatever code is running."""
