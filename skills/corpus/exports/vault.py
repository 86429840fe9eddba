"""Write an Obsidian vault with a note for each paper (`save to vault/`).

Notes are found again by their ids, even if a person has moved or renamed them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import OutputError, UsageError
from skills.corpus.exports import highlights
from skills.corpus.exports.user_edited import Value, write_owned
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
"""Maximum number of notes that a report names; other notes are counted."""
TICK_NOTES = 100
"""Number of notes between two reports of the progress."""
SETTINGS = ".obsidian"
"""The folder that marks a vault of Obsidian."""
HEAD = 65_536
"""Number of bytes at the beginning of a note in which its properties are searched."""
_PROPERTY = re.compile(
    rf"""^(?P<name>{"|".join((ID, "title", *IDENTIFIERS))}):[ \t]*"""
    r"""(?P<value>"[^"\r\n]*"|'[^'\r\n]*'|[^\r\n]*)""",
    re.MULTILINE,
)
_REPORTED = {
    "made": "made",
    "updated": "updated",
    "unchanged": "unchanged",
    "repeated": "left out, of an earlier abstract of the same paper",
}
_NAMED = {
    "kept": "kept, since you have changed what was written (--force replaces it)",
    "unreadable": "kept, since the text or the properties cannot be read",
    "gone": "kept of papers that are not among these",
}
"""Words for the states of notes that a report counts, and that it names."""
LONGEST = 120
"""Maximum number of characters of a name: Windows allows 260 for a path, Linux 255 bytes for a
name.
"""
LONGEST_BYTES = 200
_FORBIDDEN = re.compile(r'[\\/:*?"<>|#^\[\]%]+')
"""Matches characters that Windows or links of Obsidian do not allow; "%%" is a comment."""
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?\Z", re.IGNORECASE)


def check(folder: Path, *, force: bool = False) -> None:
    """Refuse a folder with other files, unless `force` is True.

    A vault is a folder that is new or empty, that Obsidian has opened, that is inside such a
    folder, or that contains notes of the harness.

    Raises:
        UsageError: the folder is not a vault.
    """
    if force or not folder.is_dir() or not any(folder.iterdir()) or _vault_of(folder):
        return
    if not _scan(folder).ours:
        raise UsageError(
            "is neither empty nor an Obsidian vault",
            where=str(folder),
            hint="Name a new folder, open this one in Obsidian first, or add --force, which adds "
            "notes and replaces nothing.",
        )


def is_vault(folder: Path) -> bool:
    """Return True for a folder in a vault of Obsidian, or with notes of the harness."""
    return folder.is_dir() and bool(_vault_of(folder) or _scan(folder).ours)


def save(
    folder: Path,
    framework: Framework,
    items: Callable[[], Iterator[Annotated]],
    *,
    force: bool = False,
    tick: Callable[[str], None] = lambda _: None,
) -> str:
    """Write a note for each paper, and return a report in words.

    Args:
        items: returns a new iterator over the annotations.
        force: replace the part of a note that the harness owns even if a person has changed it.
        tick: called with the progress.

    Raises:
        UsageError: the folder contains other files.
        OutputError: a note cannot be written.
    """
    check(folder, force=force)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as exc:
        raise OutputError(f"cannot be created: {exc.strerror}", where=str(folder)) from exc
    notes = _scan(folder)
    before = {found.path for found in notes.ours.values()}
    papers = _papers(folder, framework, items(), notes)
    links = related([one.terms.keys() for one in papers])
    by_state: dict[str, list[Path]] = defaultdict(list)
    with highlights.placing() as process:
        for place, (item, paper) in enumerate(zip(items(), papers, strict=True)):
            if place % TICK_NOTES == 0:
                tick(f"{place:,} of {counted(len(papers), 'note')}")
            if paper.path is None:
                by_state["repeated"].append(folder)
                continue
            named = [
                (other.stem, [paper.terms[term] for term in terms])
                for number, terms in links[place]
                if (other := papers[number].path)
            ]
            pdf = highlights.pdf_of(item)
            pages = {}
            if pdf and pdf.name in notes.pdfs:
                found = highlights.places_of(process, item, framework)
                pages = {move: (pdf.name, own[0]["page"] + 1) for move, own in found.items()}
            ours = note(item, framework, named, pages)
            by_state[write_owned(paper.path, ours, force=force)].append(paper.path)
    gone = before.difference(paper.path for paper in papers if paper.path)
    within = folder.resolve()
    by_state["gone"] = sorted(path for path in gone if path.resolve().is_relative_to(within))
    parts = [
        f"{counted(len(by_state[state]), 'note')} {words}"
        for state, words in _REPORTED.items()
        if by_state[state]
    ]
    for state, words in _NAMED.items():
        if paths := by_state[state]:
            names = ", ".join(f'"{path.stem}"' for path in paths[:NAMED])
            more = f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else ""
            parts.append(f"{counted(len(paths), 'note')} {words}: {names}{more}")
    return f"{folder}: {'; '.join(parts) or 'no note'}"


@dataclass(slots=True)
class _Paper:
    """The data of a paper that links between notes need.

    Attributes:
        path: the path of its note; None if the note is for a later abstract of the paper.
    """

    id: str
    source_id: str
    about: Mapping[str, Value]
    terms: dict[Term, str]
    path: Path | None = None


def _papers(
    folder: Path, framework: Framework, items: Iterator[Annotated], notes: Notes
) -> list[_Paper]:
    """Find or name the note of each paper; of papers with the same id, only of the last."""
    papers = []
    for item in items:
        moves = framework.stated(item.record).values()
        terms = terms_of(map(flatten, (item.paper.title, *moves)))
        about = properties(item, framework)
        about = {name: about[name] for name in ("title", *IDENTIFIERS) if name in about}
        papers.append(_Paper(id_of(item), item.paper.id, about, terms))
    newest = {one.id: one for one in papers}
    used = set(newest)
    for paper in newest.values():
        found = notes.of(paper.id, paper.about)
        if found is not None and (found.id == paper.id or found.id not in used):
            paper.path = found.path
            used.add(found.id)
        else:
            title = str(paper.about.get("title", ""))
            name = unused(file_name(title, paper.source_id), paper.source_id, notes.taken)
            paper.path = folder / f"{name}.md"
    return papers


@dataclass(frozen=True, slots=True)
class Found:
    """A note that the harness has written.

    Attributes:
        about: the title and the identifiers, as written in the note.
    """

    path: Path
    id: str
    about: Mapping[str, str]


@dataclass(slots=True)
class Notes:
    """The notes of a vault.

    Attributes:
        ours: the notes of the harness by id; of several notes with the same id, the first.
        taken: keys of the names of all notes, since links name notes without their folders.
        pdfs: names of PDF files that a link can name.
    """

    ours: dict[str, Found] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    pdfs: set[str] = field(default_factory=set)
    _identified: dict[tuple[str, str], Found] = field(default_factory=dict)

    def add(self, note: Found) -> None:
        self.ours.setdefault(note.id, note)
        for name in IDENTIFIERS:
            if value := note.about.get(name):
                self._identified.setdefault((name, value), note)

    def of(self, paper_id: str, about: Mapping[str, object]) -> Found | None:
        """Return the note with the id of a paper, or else with one of its identifiers, or None.

        Since the DOI of a volume belongs to several papers, the titles must share half of their
        words.
        """
        if paper_id in self.ours:
            return self.ours[paper_id]
        title = set(content_words(str(about.get("title", ""))))
        for name in IDENTIFIERS:
            if found := self._identified.get((name, str(about.get(name)))):
                other = set(content_words(found.about.get("title", "")))
                if not (title and other) or len(title & other) * 2 >= len(title | other):
                    return found
        return None


def _vault_of(folder: Path) -> Path | None:
    """Return the vault that is or contains a folder, or None."""
    whole = folder.resolve()
    return next((one for one in (whole, *whole.parents) if (one / SETTINGS).is_dir()), None)


def _scan(folder: Path) -> Notes:
    """Return the notes in the vault of a folder, or else in the folder; ignore hidden files."""
    notes = Notes()
    for place, folders, names in os.walk(_vault_of(folder) or folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if name.lower().endswith(".pdf") and not _FORBIDDEN.search(name):
                notes.pdfs.add(name)
            if name.endswith(".md") and not name.startswith(".") and path.is_file():
                notes.taken.add(key(path.stem))
                if found := _read(path):
                    notes.add(found)
    return notes


def _read(path: Path) -> Found | None:
    """Return a note of the harness, or None for another note, without parsing YAML."""
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


def file_name(title: str, paper_id: str) -> str:
    """Return the name of a note without suffix: the title, or else the id of the paper."""
    name = _plain(title) or _plain(paper_id) or "Paper"
    return f"{name} (paper)" if _RESERVED.match(name) else name


def key(name: str) -> str:
    """Return a key of a name, which is equal for names that a file system may not distinguish."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def unused(name: str, paper_id: str, taken: set[str]) -> str:
    """Return an unused name, with an id or a number if necessary, and add it to `taken`."""
    made, number = name, 1
    while key(made) in taken:
        more = (_cut(_plain(paper_id), 40), str(number))[number > 1]
        made, number = f"{_cut(name, LONGEST_BYTES - 50)} ({more or number})", number + 1
    taken.add(key(made))
    return made


def _plain(text: str) -> str:
    """Return `text` without forbidden characters of names, cut after a word."""
    name = _FORBIDDEN.sub(" ", unicodedata.normalize("NFC", flatten(text)))
    return _cut(" ".join(name.split()), LONGEST_BYTES)


def _cut(name: str, most: int) -> str:
    cut = name[:LONGEST].encode()[:most].decode(errors="ignore")
    if cut != name and " " in cut[LONGEST // 2 :]:
        cut = cut.rpartition(" ")[0]
    return cut.strip(" .,;-_")
