"""Read JSON files of a base or a run, whose folder may come from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.support.bounded_files import read_text

LARGEST = 32_000_000
"""Maximum size of a file. The index of a base with 685 billion parameters has 9 MB."""


def read_json(path: Path) -> Any:
    """Return the value in a regular file of at most `LARGEST` bytes.

    Raises:
        OSError: it cannot be read, is larger, or is not a regular file.
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(read_text(path, LARGEST))
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
