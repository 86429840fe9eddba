"""Recognize an id of a paper in a command, and read .txt files with lists of ids.

An id is a DOI, an arXiv id, a PMID or an OpenAlex id, and may be a URL. A .txt file is a list of
ids if its first line is an id and every line is a single word or an id; otherwise the file contains
an abstract. In a list, a plain number is a PMID, as in lists that PubMed saves. Empty lines and
comments, which begin with "#", are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import at_home, is_file, place, shown, text_lines
from skills.corpus.identity.identifiers import identifiers
from skills.corpus.tables.refusals import Refusals

SUFFIX = ".txt"
MOST_BYTES = 20_000_000
"""Maximum size of a list in bytes, enough for about a million DOIs."""
_COMMENT = re.compile(r"(?:^|\s)#.*")
_NUMBER = re.compile(r"\d{1,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Id:
    """The id of a paper.

    Attributes:
        text: the id as written.
        identifiers: the parsed identifiers by kind, such as "doi".
    """

    text: str
    identifiers: Mapping[str, str]


@dataclass(slots=True)
class IdList:
    """The different ids in a file.

    Attributes:
        file: the path of the file for messages; "" for an id in a command.
        repeated: number of repeated ids, which `ids` omits.
        refused: the errors of lines that contain no id.
    """

    file: str = ""
    ids: list[Id] = field(default_factory=list)
    repeated: int = 0
    refused: Refusals = field(default_factory=Refusals)


def id_in(text: str) -> Id | None:
    """Return the id if `text` is a DOI, a PMID or an OpenAlex id, or else None.

    None is also returned for an arXiv id, since commands look up arXiv ids directly at arXiv.
    """
    found = identifiers(text.strip())
    return None if "arxiv" in found or not found else Id(text.strip(), found)


def read(path: Path, *, limit: int | None = None) -> IdList | None:
    """Return the ids in a text file, or None if `path` is not a list of ids.

    A list of ids is a .txt file of at most `MOST_BYTES`, in the form that the module describes.

    Args:
        limit: maximum number of ids; None for all.

    Raises:
        InputError: the file cannot be read, or is not UTF-8.
    """
    path = at_home(path)
    if path.suffix.lower() != SUFFIX or not is_file(path) or path.stat().st_size > MOST_BYTES:
        return None
    made, seen = IdList(shown(path)), set[tuple[str, str]]()
    for number, line in enumerate(text_lines(path), start=1):
        text = _COMMENT.sub("", line.lstrip("\ufeff")).strip().rstrip(",;")
        found = identifiers(f"pmid:{text}" if _NUMBER.fullmatch(text) else text)
        if not text:
            continue
        if not found and (not seen or re.search(r"\s", text)):
            return None
        key = next(iter(found.items()), ("", ""))
        if not found:
            made.refused.add(
                InputError(
                    f"{text[:60]!r} is not an id of a paper",
                    where=place(path, "line", number),
                    hint="Write a DOI, an arXiv id, a PMID or an OpenAlex id.",
                )
            )
        elif key in seen:
            made.repeated += 1
        elif limit is None or len(made.ids) < limit:
            seen.add(key)
            made.ids.append(Id(text, dict([key])))
    return made if made.ids else None
