"""Find the notes that are there, wherever a person has moved them and whatever their names are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skills.corpus.vault.names import key
from skills.corpus.vault.note import ID, IDENTIFIERS
from skills.nanda.text import content_words

SETTINGS = ".obsidian"
"""The folder by which Obsidian marks a vault."""
HEAD = 65_536
"""Bytes in which the properties of a note are looked for."""
_PROPERTY = re.compile(
    rf"""^(?P<name>{"|".join((ID, "title", *IDENTIFIERS))}):[ \t]*"""
    r"""(?P<value>"[^"\r\n]*"|'[^'\r\n]*'|[^\r\n]*)""",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """A note of ours.

    Attributes:
        about: its title and identifiers, as they are written.
    """

    path: Path
    id: str
    about: Mapping[str, str]


@dataclass(slots=True)
class Notes:
    """The notes of a vault.

    Attributes:
        ours: by their ids; of several with one id, the first.
        taken: the keys of the names of all notes: links name them without their folders.
    """

    ours: dict[str, Found] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    _identified: dict[tuple[str, str], Found] = field(default_factory=dict)

    def add(self, note: Found) -> None:
        self.ours.setdefault(note.id, note)
        for name in IDENTIFIERS:
            if value := note.about.get(name):
                self._identified.setdefault((name, value), note)

    def of(self, paper_id: str, about: Mapping[str, object]) -> Found | None:
        """Return the note of a paper: with its id, else of another source with its identifiers.

        The DOI of a volume belongs to several papers, so that the titles must be alike.
        """
        if paper_id in self.ours:
            return self.ours[paper_id]
        found = (self._identified.get((name, str(about.get(name)))) for name in IDENTIFIERS)
        title = str(about.get("title", ""))
        return next(
            (one for one in found if one and _alike(one.about.get("title", ""), title)), None
        )


def vault_of(folder: Path) -> Path | None:
    """Return the vault that a folder is or is in, None if Obsidian has not opened one there."""
    whole = folder.resolve()
    return next((one for one in (whole, *whole.parents) if (one / SETTINGS).is_dir()), None)


def scan(folder: Path) -> Notes:
    """Return the notes in the vault of a folder, else those of the folder."""
    notes = Notes()
    for path in _files(vault_of(folder) or folder):
        notes.taken.add(key(path.stem))
        if found := _read(path):
            notes.add(found)
    return notes


def _files(folder: Path) -> Iterator[Path]:
    """Yield the notes in a folder and below, sorted; not those of hidden folders."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if name.endswith(".md") and not name.startswith(".") and path.is_file():
                yield path


def _read(path: Path) -> Found | None:
    """Return a note if it is ours; its properties are found without YAML, which takes long."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:  # a broken link
        return None
    if f"{ID}:".encode() not in head:
        return None
    text = head.decode(errors="replace")
    stated = {
        found["name"]: found["value"].strip().strip("\"'")
        for found in _PROPERTY.finditer(text[: text.find("\n---", 3)])
    }
    return Found(path, stated[ID], stated) if stated.get(ID) else None


def _alike(title: str, other: str) -> bool:
    """Return True if two titles share half of their words, or one is missing."""
    one, two = set(content_words(title)), set(content_words(other))
    return not (one and two) or len(one & two) * 2 >= len(one | two)
