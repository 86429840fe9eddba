"""Papers that are kept out of training: those of the development and test sets, and their copies.

A row is kept out by its id, by its abstract, or by an abstract that is nearly the same. What is
kept out leads to its own copies too: a set given as ids alone has abstracts as soon as a row with
such an id is found, and the same paper under another id then goes with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import place, regular_file, shown, text_lines
from skills.corpus.tables.reader import SUFFIXES, paper_key
from skills.finetune.data.near_duplicates import NearDuplicates, Sketches
from skills.finetune.data.rows import (
    AnnotationRow,
    LeftOut,
    Reading,
    Split,
    read_papers,
)
from skills.nanda.paper import abstract_digest

IDS_SUFFIX = ".txt"
_PATH = re.compile(r"[~./]|.*\.[A-Za-z]\w*\Z|.*\s", re.DOTALL)
"""What is meant for a file, so that a name that is mistyped is not taken for an id."""


@dataclass(frozen=True, slots=True)
class HeldOutSet:
    """What one option names.

    Attributes:
        path: its file; None where the option is ids.
        papers: id, abstract and place of each; the abstract is "" where only the id is known.
    """

    split: Split
    path: Path | None
    papers: tuple[tuple[str, str, str], ...]


def read_held_out(split: Split, given: str, reading: Reading) -> HeldOutSet:
    """The papers that the value of an option names: a table, a .txt of ids, or ids.

    Raises:
        InputError: the file cannot be read, or names no paper.
    """
    path = Path(given)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        papers = [(e.paper.id, e.paper.abstract, e.where) for e in read_papers(path, reading)]
    elif suffix == IDS_SUFFIX:
        papers = [
            (line.split()[0], "", place(path, "line", number))
            for number, line in enumerate(text_lines(regular_file(path)), start=1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
    elif _PATH.match(given) or _is_file(path):
        raise InputError(
            "is neither a table nor a list of ids",
            where=shown(path),
            hint=f"Tables are {', '.join(SUFFIXES)}; ids stand in a {IDS_SUFFIX} file, one a line.",
        )
    else:
        papers = [(word, "", f"--{split}") for word in given.split(",") if word]
    if not papers:
        raise InputError("names no paper", where=shown(path) if given.strip() else f"--{split}")
    known = path if suffix in (*SUFFIXES, IDS_SUFFIX) else None
    return HeldOutSet(split, known, tuple(papers))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # many ids are too long for a name
        return False


@dataclass(frozen=True, slots=True)
class _Paper:
    """A paper that is kept out, and where it is named."""

    split: Split
    id: str
    where: str


class HeldOut:
    """All papers that are kept out, by id and by abstract."""

    def __init__(
        self, sets: Iterable[HeldOutSet], sketches: Sketches, max_similarity: float
    ) -> None:
        self._sketches = sketches
        self._ids: dict[str, _Paper] = {}
        self._abstracts: dict[str, _Paper] = {}
        self._near = NearDuplicates(max_similarity)
        for held in sets:
            for paper_id, abstract, where in held.papers:
                self._add(_Paper(held.split, paper_id, where), abstract)

    def split_off(self, rows: Sequence[AnnotationRow]) -> tuple[list[AnnotationRow], list[LeftOut]]:
        """Part the rows into those that may be trained on and those kept out.

        It goes on until nothing more is found, since each row that is found is looked for too.
        """
        kept, out = list(rows), list[LeftOut]()
        while True:
            matches = [(row, self._match(row)) for row in kept]
            kept = [row for row, match in matches if match is None]
            found = [(row, match[0], match[1]) for row, match in matches if match is not None]
            if not found:
                return kept, out
            for row, paper, left_out in found:
                self._add(_Paper(paper.split, row.paper.id, row.where), row.paper.abstract)
                out.append(left_out)

    def _add(self, paper: _Paper, abstract: str) -> None:
        self._ids.setdefault(paper_key(paper.id), paper)
        digest = abstract_digest(abstract)
        if abstract and digest not in self._abstracts:
            self._abstracts[digest] = paper
            self._near.add(digest, abstract, self._sketches.of(abstract))

    def _match(self, row: AnnotationRow) -> tuple[_Paper, LeftOut] | None:
        """The paper that a row is, among those kept out; None if it is none of them."""
        abstract, similarity = row.paper.abstract, None
        if (paper := self._ids.get(row.key)) is not None:
            what = "id is that"
        elif (paper := self._abstracts.get(row.paper.sha256)) is not None:
            what, similarity = "abstract is that", 1.0
        elif (near := self._near.nearest(abstract, self._sketches.of(abstract))) is not None:
            paper = self._abstracts[near.name]
            what, similarity = "abstract is nearly that", round(near.similarity, 4)
        else:
            return None
        return paper, LeftOut(
            row.source,
            row.where,
            row.paper.id,
            "excluded",
            f"its {what} of a paper kept for {paper.split}",
            paper.id,
            paper.where,
            similarity,
            paper.split,
        )
