"""What every page is made with: one HTML file that holds all it needs and asks no network.

A page holds its data as JSON in script elements that no browser runs, and one script and one style
of its own. Its Content-Security-Policy names these two by their hashes, and allows nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

ASSETS = Path(__file__).with_name("page_assets")
"""Of the corpus's page; other pages share its base.css and dom.js."""
_SPECIAL = re.compile("[<>&\u2028\u2029]")


def joined_script(files: Iterable[Path]) -> str:
    """Programs as one script of one scope, in this order."""
    return "\n".join(("(() => {", '"use strict";', *map(text_of, files), "})();"))


def joined_style(files: Iterable[Path]) -> str:
    return "\n".join(map(text_of, files))


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def policy(script: str, style: str) -> str:
    """The Content-Security-Policy of a page with this inline script and this inline style."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def write_array(file: IO[bytes], name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write an element with the id `name` that holds an array, one row on each line."""
    file.write(f'<script type="application/json" id="{name}">['.encode())
    before = b"\n"
    for row in rows:
        file.write(before + json_bytes(row))
        before = b",\n"
    file.write(b"\n]</script>\n")


def write_value(file: IO[bytes], name: str, value: Any) -> None:
    """Write an element with the id `name` that holds one value."""
    opening = f'<script type="application/json" id="{name}">'.encode()
    file.write(opening + json_bytes(value) + b"</script>\n")


def json_bytes(value: Any) -> bytes:
    """JSON that ends no element and begins no comment, whatever it holds.

    Half a surrogate pair, which no file can hold, is written as the escape that JSON has for it.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    safe = _SPECIAL.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
    return safe.encode("utf-8", "backslashreplace")


def _hash(text: str) -> str:
    """What a Content-Security-Policy knows an inline script or style by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
