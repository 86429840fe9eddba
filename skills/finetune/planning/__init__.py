"""Plan of a run: rows, steps, memory, disk and time, before any weight is loaded."""
