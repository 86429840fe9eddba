"""Names of notes that every file system and every link takes."""

from __future__ import annotations

import re
import unicodedata

from skills.nanda.text import flatten

LONGEST = 120
"""Characters of a name: Windows has 260 for a whole path, and Linux 255 bytes for a name."""
LONGEST_BYTES = 200
_FORBIDDEN = re.compile(r'[\\/:*?"<>|#^\[\]%]+')
"""What Windows or a link of Obsidian does not take; "%%" is a comment."""
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?\Z", re.IGNORECASE)


def file_name(title: str, paper_id: str) -> str:
    """Return the name of a note, without a suffix: the title, else the id of the paper."""
    name = _plain(title) or _plain(paper_id) or "Paper"
    return f"{name} (paper)" if _RESERVED.match(name) else name


def key(name: str) -> str:
    """Return what is equal for two names that a file system may not keep apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def unused(name: str, paper_id: str, taken: set[str]) -> str:
    """Return the name, with the id or a number if a note has it, and add it to those taken."""
    made, number = name, 1
    while key(made) in taken:
        more = (_cut(_plain(paper_id), 40), str(number))[number > 1]
        made, number = f"{_cut(name, LONGEST_BYTES - 50)} ({more or number})", number + 1
    taken.add(key(made))
    return made


def _plain(text: str) -> str:
    """Return text without what a name may not have, cut at a word."""
    name = _FORBIDDEN.sub(" ", unicodedata.normalize("NFC", flatten(text)))
    return _cut(" ".join(name.split()), LONGEST_BYTES)


def _cut(name: str, most: int) -> str:
    cut = name[:LONGEST].encode()[:most].decode(errors="ignore")
    if cut != name and " " in cut[LONGEST // 2 :]:
        cut = cut.rpartition(" ")[0]
    return cut.strip(" .,;-_")
