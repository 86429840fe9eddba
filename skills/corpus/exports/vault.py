"""Write the notes of papers into a vault, and report what was done."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import OutputError, UsageError
from harness.runs import targets
from harness.support.bounded_files import read_bytes
from skills.corpus.exports.user_edited import MOST_BYTES, BrokenFrontMatterError, Value
from skills.corpus.exports.vault_note import (
    ID,
    IDENTIFIERS,
    id_of,
    note,
    properties,
    related,
    terms_of,
)
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework
from skills.nanda.terms import Term
from skills.nanda.text import content_words, counted, flatten

NAMED = 5
"""Notes that a report names; the others are counted."""
TICK_NOTES = 100
"""Notes between two reports of the progress."""


def check(folder: Path, *, force: bool = False) -> None:
    """Refuse a folder that holds other things, unless `force`: nothing in it would be replaced.

    A vault is a folder that is new or empty, that Obsidian has opened, that is inside of such a
    one, or that has notes of ours.

    Raises:
        UsageError: it is none of these.
    """
    if force or not folder.is_dir() or not any(folder.iterdir()) or vault_of(folder):
        return
    if not scan(folder).ours:
        raise UsageError(
            "is neither empty nor an Obsidian vault",
            where=str(folder),
            hint="Name a new folder, open this one in Obsidian first, or add --force, which adds "
            "notes and replaces nothing.",
        )


def save(
    folder: Path,
    framework: Framework,
    items: Callable[[], Iterator[Annotated]],
    *,
    force: bool = False,
    tick: Callable[[str], None] = lambda _: None,
) -> str:
    """Write a note for each paper, and return what was done, in words.

    Args:
        items: returns a new iterator over the annotations.
        force: replace what is ours in a note also where a person has changed it.
        tick: called with the progress.

    Raises:
        UsageError: the folder holds other things.
        OutputError: a note cannot be written.
    """
    check(folder, force=force)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot be created: {exc.strerror}", where=str(folder)) from exc
    notes = scan(folder)
    before = {found.path for found in notes.ours.values()}
    papers = _papers(folder, framework, items(), notes)
    links = related([one.terms.keys() for one in papers])
    report = _Report(folder)
    for place, (item, paper) in enumerate(zip(items(), papers, strict=True)):
        if place % TICK_NOTES == 0:
            tick(f"{place:,} of {counted(len(papers), 'note')}")
        if paper.path is None:
            report.states["repeated"] += 1
            continue
        named = [
            (other.stem, [paper.terms[term] for term in terms])
            for number, terms in links[place]
            if (other := papers[number].path)
        ]
        report.add(paper.path, _write(paper.path, item, framework, named, force))
    gone = before.difference(paper.path for paper in papers if paper.path)
    within = folder.resolve()
    return report.in_words(sorted(path for path in gone if path.resolve().is_relative_to(within)))


@dataclass(slots=True)
class _Paper:
    """What the links between notes need of a paper.

    Attributes:
        path: its note; None if a later paper has the same one, with another abstract.
    """

    id: str
    source_id: str
    about: Mapping[str, Value]
    terms: dict[Term, str]
    path: Path | None = None


def _papers(
    folder: Path, framework: Framework, items: Iterator[Annotated], notes: Notes
) -> list[_Paper]:
    """Find the note of each paper, or choose its name; of several with one id, only of the last."""
    papers = []
    for item in items:
        moves = framework.stated(item.record).values()
        terms = terms_of(map(flatten, (item.paper.title, *moves)))
        found = {
            name: value
            for name, value in properties(item, framework).items()
            if name in ("title", *IDENTIFIERS)
        }
        papers.append(_Paper(id_of(item), item.paper.id, found, terms))
    newest = {one.id: one for one in papers}
    used = set(newest)
    for paper in newest.values():
        note = notes.of(paper.id, paper.about)
        if note is not None and (note.id == paper.id or note.id not in used):
            paper.path = note.path
            used.add(note.id)
        else:
            title = str(paper.about.get("title", ""))
            name = unused(file_name(title, paper.source_id), paper.source_id, notes.taken)
            paper.path = folder / f"{name}.md"
    return papers


def _write(
    path: Path,
    item: Annotated,
    framework: Framework,
    links: list[tuple[str, list[str]]],
    force: bool,
) -> str:
    """Write a note if it changes, and return what was done."""
    ours = note(item, framework, links)
    if not path.exists():
        targets.write_text(path, f"{ours.text}\n")
        return "made"
    try:
        before = read_bytes(path, MOST_BYTES).decode()
        after, state = ours.merged(before, force=force)
    except (OSError, UnicodeDecodeError, BrokenFrontMatterError):
        return "unreadable"
    if after != before:
        targets.write_text(path, after)
    return state


@dataclass(slots=True)
class _Report:
    folder: Path
    states: Counter[str] = field(default_factory=Counter)
    kept: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)

    def add(self, path: Path, state: str) -> None:
        self.states[state] += 1
        if state in ("kept", "unreadable"):
            getattr(self, state).append(path)

    def in_words(self, gone: list[Path]) -> str:
        """Return the counts, and the names of notes that differ from the annotations.

        Args:
            gone: notes of papers that were not among those saved.
        """
        counts = {"made": "made", "updated": "updated", "unchanged": "unchanged"}
        counts["repeated"] = "left out, of an earlier abstract of the same paper"
        parts = [
            f"{counted(self.states[state], 'note')} {words}"
            for state, words in counts.items()
            if self.states[state]
        ]
        for paths, text in (
            (self.kept, "kept, since you have changed what was written (--force replaces it)"),
            (self.unreadable, "kept, since the text or the properties cannot be read"),
            (gone, "kept of papers that are not among these"),
        ):
            if paths:
                names = ", ".join(f'"{path.stem}"' for path in paths[:NAMED])
                more = f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else ""
                parts.append(f"{counted(len(paths), 'note')} {text}: {names}{more}")
        return f"{self.folder}: {'; '.join(parts) or 'no note'}"


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
