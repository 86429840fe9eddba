"""The word lists of phrases.yaml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml


@functools.cache
def phrases() -> dict[str, Any]:
    """Return the lists of phrases.yaml, which describes them."""
    return dict(yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text("utf-8")))
