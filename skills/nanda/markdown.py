"""Escape text for Markdown."""

from __future__ import annotations

import re

SPECIAL = re.compile(r"[\\`*\[\]<|~]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)")


def escape(text: str) -> str:
    """Return `text` on one line with all Markdown and table syntax escaped."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
