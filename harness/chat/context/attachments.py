"""Files that a line of the user names as @PATH, and stdin as @- or a last -, in their message."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import InputError
from harness.support.reading import text_input
from harness.terminal.console import Screen

MAX_BYTES = 200_000
"""Maximum size of all files of a line, about 30,000 words."""
_LAST = re.compile(r"(?:\A|\s)-\s*\Z")
_ATTACHED = re.compile(r"(?:\A|\s)@(?:\"([^\"\n]+)\"|'([^'\n]+)'|(\S+))")
STDIN = "-"
_END = ".,;:!?)"
"""Characters that end a sentence and no file name."""
_TABLES = (".parquet", ".xlsx", ".ods", ".xls")
_NO_TEXT = (*_TABLES, ".pdf", ".docx", ".doc", ".odt", ".png", ".jpg", ".jpeg", ".gif", ".zip")
_FILES = re.compile(
    r"\.(?:txt|md|rst|tex|bib|csv|tsv|jsonl?|ya?ml|toml|html?|xml|css|log|sql|sh|py|js|ts|rs|go|c|h"
    r"|cpp|java)\Z",
    re.IGNORECASE,
)


def with_files(
    text: str,
    screen: Screen,
    read_stdin: Callable[[], str] | None = None,
    *,
    joins_stdin: bool = False,
) -> str:
    """Return a line with the content of the files that it names, each announced in a notice.

    A word after @ that is neither a file nor looks like one is text: @you, @angular/core.

    Args:
        read_stdin: as in `Call`.
        joins_stdin: stdin follows the line, unless it is empty.

    Raises:
        InputError: a file is missing, not a text, or too big.
    """
    dash = _LAST.search(text) if read_stdin else None
    names = [*_names(text), *([STDIN] if dash else [])]
    parts, left = [text[: dash.start()] if dash else text], MAX_BYTES
    for name in dict.fromkeys([*names, *([STDIN] if joins_stdin else [])]):
        content = _stdin(read_stdin) if name == STDIN else _content(name)
        if not content.strip() and name == STDIN:
            if STDIN in names:
                raise InputError("stdin is empty", where=f"@{STDIN}")
            continue
        left -= len(content.encode())
        if left < 0:
            raise InputError(
                f"the attached files have more than {MAX_BYTES // 1000} KB",
                where=name,
                hint="Attach a part of it.",
            )
        screen.notice(f"-> @{name} ({len(content):,} characters)")
        tag = "file"
        while f"</{tag}" in content:  # else the file could end here, and the user seem to go on
            tag += "-"
        end = "" if content.endswith("\n") else "\n"
        parts.append(f'<{tag} path="{html.escape(name)}">\n{content}{end}</{tag}>')
    return "\n\n".join(parts)


def _names(text: str) -> Iterator[str]:
    """Yield the names of files in a line, in order."""
    for match in _ATTACHED.finditer(text):
        name = match[1] or match[2] or match[3]
        if match[3] and not text_input.is_file(name):
            name = name.rstrip(_END)
        known = name == STDIN or name.lower().endswith(_NO_TEXT) or _FILES.search(name)
        if known or text_input.is_file(text_input.at_home(name)):
            yield name


def _stdin(read: Callable[[], str] | None) -> str:
    if read is None:
        raise InputError("stdin is not available here", where=f"@{STDIN}", hint="Attach a file.")
    return read()


def _content(name: str) -> str:
    if not name.lower().endswith(_NO_TEXT):
        return text_input.read_text(Path(name), what="an attached text")
    if name.lower().endswith(_TABLES):
        hint = f"`/annotate {name}` reads it; `/help` lists the other commands."
    else:
        hint = "Save its text as .txt or .md."
    raise InputError("chat reads text files only", where=f"@{name}", hint=hint)
