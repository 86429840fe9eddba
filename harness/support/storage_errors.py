"""Errors of storing that do not depend on what is stored."""

from __future__ import annotations

import sqlite3


def is_of_storage(error: Exception) -> bool:
    """Return True if nothing can be stored: the disk is full, the database locked or damaged."""
    damaged = type(error) is sqlite3.DatabaseError  # its subclasses are errors of statements
    return damaged or isinstance(error, OSError | MemoryError | sqlite3.OperationalError)
