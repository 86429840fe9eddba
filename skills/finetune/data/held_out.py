"""Papers held out of training: those of the development and test sets, and their copies.

A row is held out by its id, its abstract, or a nearly identical abstract. Each row that is held out
is then searched for as well: a set given as ids has abstracts as soon as a row with such an id is
found, and the same paper under another id is then held out too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.support.text_input import place, regular_file, shown, text_lines
from skills.corpus.table import SUFFIXES, paper_key
from skills.finetune.data.near_duplicates import AbstractIndex
from skills.finetune.data.rows import AnnotationRow, LeftOut, Reading, Split, Step, read_papers

IDS_SUFFIX = ".txt"
LONGEST_NAME = 256
"""A longer value cannot be a file name; it is a list of ids."""
_PATH = re.compile(r"[~./]|.*\.[A-Za-z]\w*\Z|.*\s", re.DOTALL)
"""Values meant as a file, so that a mistyped name is not taken for an id."""


@dataclass(frozen=True, slots=True)
class HeldOutPaper:
    """A held-out paper, and where it is named; the abstract is "" if only the id is known."""

    split: Split
    id: str
    where: str
    abstract: str = ""


@dataclass(frozen=True, slots=True)
class HeldOutSet:
    """The papers that one option names.

    Attributes:
        path: its file, or None if the option is a list of ids.
    """

    split: Split
    path: Path | None
    papers: tuple[HeldOutPaper, ...]


def read_held_out(split: Split, given: str, reading: Reading) -> HeldOutSet:
    """Read the papers that an option names: a table, a .txt file of ids, or ids.

    Raises:
        InputError: the file cannot be read, or names no paper.
    """
    path = Path(given)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        papers = [
            HeldOutPaper(split, row.paper.id, row.where, row.paper.abstract)
            for row in read_papers(path, reading)
        ]
    elif suffix == IDS_SUFFIX:
        papers = [
            HeldOutPaper(split, line.split()[0], place(path, "line", number))
            for number, line in enumerate(text_lines(regular_file(path)), start=1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
    elif _PATH.match(given) or (len(given) < LONGEST_NAME and path.is_file()):
        raise InputError(
            "is neither a table nor a list of ids",
            where=shown(path),
            hint=f"Tables are {', '.join(SUFFIXES)}; a {IDS_SUFFIX} file has one id per line.",
        )
    else:
        papers = [HeldOutPaper(split, word, f"--{split}") for word in given.split(",") if word]
    if not papers:
        raise InputError(
            "does not name a paper", where=shown(path) if given.strip() else f"--{split}"
        )
    known = path if suffix in (*SUFFIXES, IDS_SUFFIX) else None
    return HeldOutSet(split, known, tuple(papers))


class HeldOut:
    """All held-out papers, by id and by abstract."""

    def __init__(self, sets: Iterable[HeldOutSet], max_similarity: float) -> None:
        self._ids: dict[str, HeldOutPaper] = {}
        self._abstracts: AbstractIndex[HeldOutPaper] = AbstractIndex(max_similarity)
        for held in sets:
            for paper in held.papers:
                self._add(paper)

    def split_off(self, rows: list[AnnotationRow]) -> Step:
        """Separate the rows that may be trained on from the held-out ones.

        This repeats until nothing is found, since each row that is found is held out as well.
        """
        kept, out = list(rows), list[LeftOut]()
        while True:
            matches = [(row, self._match(row)) for row in kept]
            kept = [row for row, match in matches if match is None]
            found = [(row, *match) for row, match in matches if match is not None]
            if not found:
                return kept, out
            for row, paper, excluded in found:
                self._add(HeldOutPaper(paper.split, row.paper.id, row.where, row.paper.abstract))
                out.append(excluded)

    def _add(self, paper: HeldOutPaper) -> None:
        self._ids.setdefault(paper_key(paper.id), paper)
        self._abstracts.add(paper.abstract, paper)

    def _match(self, row: AnnotationRow) -> tuple[HeldOutPaper, LeftOut] | None:
        """Return the held-out paper of a row, or None."""
        similarity = None
        if (paper := self._ids.get(row.key)) is not None:
            what = "id is that"
        elif (match := self._abstracts.find(row.paper.abstract)) is not None:
            paper, similarity = match.value, round(match.similarity, 4)
            what = "abstract is that" if match.exact else "abstract is nearly that"
        else:
            return None
        return paper, row.left_out(
            "excluded",
            f"its {what} of a paper kept for {paper.split}",
            of=paper.id,
            of_where=paper.where,
            similarity=similarity,
            split=paper.split,
        )
