"""Write the notes of papers into a vault, and report what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import OutputError, UsageError
from harness.runs import targets
from harness.support.reading.bounded_files import read_bytes
from skills.corpus.records import Annotated
from skills.corpus.shared_files.front_matter import BrokenFrontMatterError, Value
from skills.corpus.shared_files.owned import MOST_BYTES
from skills.corpus.vault import scanning
from skills.corpus.vault.names import file_name, unused
from skills.corpus.vault.note import IDENTIFIERS, id_of, note, properties
from skills.corpus.vault.related import related, terms_of
from skills.nanda.framework import Framework
from skills.nanda.terms import Term
from skills.nanda.text import counted, flatten

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
    if force or not folder.is_dir() or not any(folder.iterdir()) or scanning.vault_of(folder):
        return
    if not scanning.scan(folder).ours:
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
    notes = scanning.scan(folder)
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
    folder: Path, framework: Framework, items: Iterator[Annotated], notes: scanning.Notes
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
