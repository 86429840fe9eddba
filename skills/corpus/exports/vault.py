"""Save annotations as an Obsidian vault, with a note for each paper.

The note of a paper is found by the id or an identifier in the properties of the note. A person may
therefore move or rename the note.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import UsageError
from harness.runs import targets
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
from skills.nanda.text import content_words, counted, flatten, listed

NAMED = 5
"""Maximum number of notes that a report lists by name for each state."""
TICK_NOTES = 100
"""Number of notes between two progress messages."""
SETTINGS = ".obsidian"
"""The folder that Obsidian creates in a vault."""
HEAD = 65_536
"""Number of bytes that are read from a note to find its properties."""
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
"""`_REPORTED` and `_NAMED` have the text for each state of a note.

A report counts the notes in each state, and lists the first notes in the states of `_NAMED`.
"""
LONGEST = 120
"""Maximum number of characters of a file name, without an added id or number.

Windows allows 260 characters for a path, and Linux 255 bytes for a name.
"""
LONGEST_BYTES = 200
"""Maximum number of bytes of a file name in UTF-8."""
_FORBIDDEN = re.compile(r'[\\/:*?"<>|#^\[\]%]+')
"""Matches characters that Windows or Obsidian's links do not allow, and "%" ("%%" is a comment)."""
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?\Z", re.IGNORECASE)


def check(folder: Path, *, force: bool = False) -> None:
    """Refuse a folder that is neither empty nor a vault, unless `force` is True.

    A new or empty folder, an Obsidian vault, a folder within a vault, and a folder with notes of
    the harness are accepted.

    Raises:
        UsageError: the folder is refused.
    """
    if force or not folder.is_dir() or not any(folder.iterdir()) or is_vault(folder):
        return
    raise UsageError(
        "is neither empty nor an Obsidian vault",
        where=str(folder),
        hint="Name a new folder, open this folder in Obsidian first, or add --force, which "
        "adds notes and replaces nothing.",
    )


def is_vault(folder: Path) -> bool:
    """Return True if a folder is in an Obsidian vault, or contains notes of the harness."""
    return folder.is_dir() and bool(_vault_of(folder) or _scan(folder).ours)


def save(
    folder: Path,
    framework: Framework,
    items: Callable[[], Iterator[Annotated]],
    *,
    force: bool = False,
    tick: Callable[[str], None] = lambda _: None,
) -> str:
    """Save a note for each paper, and return a report as a sentence.

    Args:
        items: returns a new iterator over the annotations.
        force: True to accept every folder, and to replace the harness's part of a note even if a
            person has changed this part.
        tick: called with the progress.

    Raises:
        UsageError: `check` refuses the folder.
        OutputError: a note cannot be written.
    """
    check(folder, force=force)
    with targets.reported(folder):
        folder.mkdir(exist_ok=True)
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
    parts = []
    for state, words in (_REPORTED | _NAMED).items():
        if paths := by_state[state]:
            part = f"{counted(len(paths), 'note')} {words}"
            if state in _NAMED:
                part += ": " + listed((f'"{path.stem}"' for path in paths), NAMED)
            parts.append(part)
    return f"{folder}: {'; '.join(parts) or 'no note'}"


@dataclass(slots=True)
class _Paper:
    """A paper with the data for its note and its links.

    Attributes:
        id: the id in the vault (see `vault_note.id_of`).
        source_id: the id at the source.
        about: the title and the identifiers.
        terms: the terms of the title and the stated moves, each with the spelling in this paper.
        path: the path of the note; None if a later paper has the same id.
    """

    id: str
    source_id: str
    about: Mapping[str, Value]
    terms: dict[Term, str]
    path: Path | None = None


def _papers(
    folder: Path, framework: Framework, items: Iterator[Annotated], notes: Notes
) -> list[_Paper]:
    """Return the papers, each with the path of its existing or new note.

    Of several papers with the same id, only the last paper has a note.
    """
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
class VaultNote:
    """A note that the harness has written.

    Attributes:
        id: the id of the paper in the vault.
        about: the title and the identifiers in the properties.
    """

    path: Path
    id: str
    about: Mapping[str, str]


@dataclass(slots=True)
class Notes:
    """The notes in a vault.

    Attributes:
        ours: for each id of a paper, the first note of the harness with this id.
        taken: the names of all notes in all folders, as `key` returns them. A new note needs
            another name, since links contain no folder.
        pdfs: the names of the PDF files to which a note can link.
    """

    ours: dict[str, VaultNote] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    pdfs: set[str] = field(default_factory=set)
    _identified: dict[tuple[str, str], VaultNote] = field(default_factory=dict)

    def add(self, note: VaultNote) -> None:
        self.ours.setdefault(note.id, note)
        for name in IDENTIFIERS:
            if value := note.about.get(name):
                self._identified.setdefault((name, value), note)

    def of(self, paper_id: str, about: Mapping[str, object]) -> VaultNote | None:
        """Return the note with this id or with one of the identifiers, or None.

        Several papers may have the DOI of a volume. Therefore a note is found by an identifier only
        if the titles of the note and the paper have at least half of their words in common. If a
        title is missing, the identifier suffices.
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
    """Return the Obsidian vault that contains a folder or is the folder itself, or None."""
    whole = folder.resolve()
    return next((one for one in (whole, *whole.parents) if (one / SETTINGS).is_dir()), None)


def _scan(folder: Path) -> Notes:
    """Read the notes in the vault that contains a folder, or else in the folder itself.

    Hidden notes and folders are omitted.
    """
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


def _read(path: Path) -> VaultNote | None:
    """Return the note in a file, or None if the harness did not write the note.

    The properties are found without parsing YAML, for speed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:  # the file cannot be read
        return None
    if f"{ID}:".encode() not in head:
        return None
    text = head.decode(errors="replace")
    stated = {
        found["name"]: found["value"].strip().strip("\"'")
        for found in _PROPERTY.finditer(text[: text.find("\n---", 3)])
    }
    return VaultNote(path, stated[ID], stated) if stated.get(ID) else None


def file_name(title: str, paper_id: str) -> str:
    """Return the name of a note without suffix: the title, or else the id of the paper."""
    name = _plain(title) or _plain(paper_id) or "Paper"
    return f"{name} (paper)" if _RESERVED.match(name) else name


def key(name: str) -> str:
    """Return a key of a name; names that a file system may treat as equal have the same key."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def unused(name: str, paper_id: str, taken: set[str]) -> str:
    """Return an unused name for a note, and add its key to `taken`.

    If `name` is in use, the id of the paper or a number is added to the name.
    """
    made, number = name, 1
    while key(made) in taken:
        more = (_cut(_plain(paper_id), 40), str(number))[number > 1]
        made, number = f"{_cut(name, LONGEST_BYTES - 50)} ({more or number})", number + 1
    taken.add(key(made))
    return made


def _plain(text: str) -> str:
    """Return a text as a file name, without forbidden characters.

    A name that is too long is cut off after a word.
    """
    name = _FORBIDDEN.sub(" ", unicodedata.normalize("NFC", flatten(text)))
    return _cut(" ".join(name.split()), LONGEST_BYTES)


def _cut(name: str, most: int) -> str:
    cut = name[:LONGEST].encode()[:most].decode(errors="ignore")
    if cut != name and " " in cut[LONGEST // 2 :]:
        cut = cut.rpartition(" ")[0]
    return cut.strip(" .,;-_")
