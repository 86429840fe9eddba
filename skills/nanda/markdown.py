"""Text as Markdown."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"[\\`*\[\]<|~]|&(?=#?\w+;)|(?<!\w)_|_(?!\w)")


def escape(text: str) -> str:
    """`text` on one line with everything escaped that Markdown or a table would act on."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
