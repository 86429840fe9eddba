"""Merge tables into a training set without held-out papers and copies.

A row is held out if its id, or an equal or nearly equal abstract, belongs to a held-out paper. If
only the id of a held-out paper is known, its abstract comes from the row with this id. With this
abstract, copies under other ids are found.

The similarity of two abstracts is the Jaccard index of their runs of three words: the number of
runs in both abstracts divided by the number of runs in at least one abstract. An abstract of 200
words and a changed copy have a similarity of 0.86 if five words far apart are changed, 0.63 if
fifteen words are changed, and 0.83 if 40 words are added at the end. Among 2,149 different
abstracts of this project, the highest similarity is 0.38, and all but two pairs have less than
0.21. So `MAX_SIMILARITY` is well above the similarity of two different papers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from harness.errors import InputError
from harness.support.bounded_files import file_sha256
from harness.support.text_input import place, regular_file, shown, text_lines
from skills.corpus.table import SUFFIXES, TableRow, paper_key
from skills.finetune.dataset.annotated_rows import (
    SOURCES,
    WHYS,
    AnnotationRow,
    HeldOutPaper,
    LeftOut,
    Reading,
    Split,
    Step,
    format_annotation_prompt,
    format_annotation_system,
    read_papers,
    valid_rows,
)
from skills.finetune.dataset.dataset_options import MAX_SIMILARITY, Choices, Source
from skills.nanda.framework import Framework
from skills.nanda.paper import abstract_digest
from skills.nanda.text import words

T = TypeVar("T")
RUN = 3
"""Number of words in a run."""
COMMON = 100
"""A run that occurs in more than this number of abstracts is not used to find similar abstracts.

Rare runs suffice: two abstracts with a similarity of 0.5 share two thirds of their runs.
"""
IDS_SUFFIX = ".txt"
LONGEST_NAME = 256
"""Length from which a value of --dev or --test without a suffix is not looked up as a file."""
_PATH = re.compile(r"[~./]|.*\.[A-Za-z]\w*\Z|.*\s", re.DOTALL)
"""Matches a value of --dev or --test that counts as a file name even if the file is missing."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The training set.

    Attributes:
        rows: one row for each paper. Gold rows come first, then curated rows, then agent rows; the
            rows of a source are in the order of the files.
        left_out: a record of every other row of the tables.
        choices: the choices for building the data set.
        held_out: the papers that --dev and --test name; `rows` has no row of these papers.
        inputs: the role, the path as given, and the SHA-256 of each input file.
    """

    framework: Framework
    rows: tuple[AnnotationRow, ...]
    left_out: tuple[LeftOut, ...]
    choices: Choices
    held_out: tuple[HeldOutSet, ...] = ()
    inputs: tuple[Mapping[str, str], ...] = ()

    @property
    def counts(self) -> dict[Source, dict[str, int]]:
        """For each source, the number of rows read, written, and left out for each reason."""
        out = Counter((left.source, left.why) for left in self.left_out)
        written = Counter(row.source for row in self.rows)
        found: dict[Source, dict[str, int]] = {}
        for source in SOURCES:
            left = {str(why): out[source, why] for why in WHYS}
            read = written[source] + sum(left.values())
            found[source] = {"read": read, **left, "written": written[source]}
        return found

    @property
    def rare(self) -> dict[str, int]:
        """The number of rows that state a rare move, by move.

        A move is rare if some rows, but fewer than half of the rows, state the move.
        """
        stated = Counter(name for row in self.rows for name in self.framework.stated(row.moves))
        names = (name for name in self.framework.names if 0 < stated[name] < len(self.rows) / 2)
        return {name: stated[name] for name in names}

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as JSON objects, one for each line of the .jsonl file.

        `prompt`, `completion` and `system` contain no chat template. `id_field` is the role of the
        id column (arxiv_id, paper_id or id), and `sha256` is `Paper.sha256`.
        """
        rare = set(self.rare)
        system = format_annotation_system(self.framework)
        for row in self.rows:
            is_rare = not rare.isdisjoint(self.framework.stated(row.moves))
            weight = self.choices.weights[row.source]
            yield {
                "prompt": format_annotation_prompt(row.paper.abstract, self.framework),
                "completion": row.completion,
                "system": system,
                "id": row.paper.id,
                "id_field": row.paper.id_field,
                "source": row.source,
                "weight": weight * self.choices.rare_weight if is_rare else weight,
                "sha256": row.paper.sha256,
            }

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the .jsonl file, encoded in UTF-8."""
        for example in self.examples():
            yield json.dumps(example, ensure_ascii=False).encode() + b"\n"

    def write(self, file: IO[bytes]) -> None:
        """Write the data set as .jsonl."""
        file.writelines(self.lines())

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file that `write` writes."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """The value stored with a similar abstract; `exact` is True if the abstracts are equal."""

    value: T
    similarity: float
    exact: bool


class AbstractIndex(Generic[T]):
    """An index of abstracts that finds an equal or nearly equal abstract.

    An inverted index finds the abstracts that share a run of words with a text. Runs that occur in
    more than `COMMON` abstracts are not used to find candidates.
    """

    def __init__(self, max_similarity: float = MAX_SIMILARITY) -> None:
        self._max_similarity = max_similarity
        self._exact: dict[str, T] = {}
        self._kept: list[tuple[T, frozenset[str]]] = []
        self._abstracts: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, text: str, value: T) -> None:
        """Add an abstract, unless it is empty or in the index already."""
        digest = abstract_digest(text)
        if not text or digest in self._exact:
            return
        self._exact[digest] = value
        found = runs(text)
        for run in found:
            self._abstracts[run].append(len(self._kept))
        self._kept.append((value, found))

    def find(self, text: str) -> Match[T] | None:
        """Return the most similar abstract as a match, or None if no abstract is similar enough."""
        digest = abstract_digest(text)
        if digest in self._exact:
            return Match(self._exact[digest], 1.0, exact=True)
        found = runs(text)
        lists = (self._abstracts.get(run, []) for run in found)
        candidates = {number for numbers in lists if len(numbers) <= COMMON for number in numbers}
        best: Match[T] | None = None
        for number in sorted(candidates):
            value, other = self._kept[number]
            shared = len(found & other)
            similarity = shared / (len(found) + len(other) - shared)
            if similarity > max(self._max_similarity, best.similarity if best else 0.0):
                best = Match(value, similarity, exact=False)
        return best


def runs(text: str) -> frozenset[str]:
    """Return all runs of `RUN` words without case and punctuation; a shorter text is one run."""
    found = words(text)
    last = max(len(found) - RUN, 0) if found else -1
    return frozenset(" ".join(found[start : start + RUN]) for start in range(last + 1))


@dataclass(frozen=True, slots=True)
class HeldOutSet:
    """The papers that one value of --dev or --test names.

    Attributes:
        path: the file with the papers; None if the value itself is a list of ids.
    """

    split: Split
    path: Path | None
    papers: tuple[HeldOutPaper, ...]


def read_held_out(split: Split, given: str, reading: Reading) -> HeldOutSet:
    """Return the papers in a table, a .txt file of ids, or a comma-separated list of ids.

    Args:
        given: the value of the option --dev or --test.

    Raises:
        InputError: `given` cannot be read, or names no paper.
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


def _without_held_out(
    rows: list[AnnotationRow], sets: Iterable[HeldOutSet], index: AbstractIndex[HeldOutPaper]
) -> Step:
    """Return the rows for training, and a record of each held-out row.

    Held-out papers and rows are added to `index`. Each held-out row can identify further copies by
    its id and abstract, so the search is repeated until no more rows are found.
    """
    ids: dict[str, HeldOutPaper] = {}
    new = [paper for held in sets for paper in held.papers]
    kept, out = rows, list[LeftOut]()
    while new:
        for paper in new:
            ids.setdefault(paper_key(paper.id), paper)
            index.add(paper.abstract, paper)
        rows, kept, new = kept, [], []
        for row in rows:
            similarity = None
            if row.key in ids:
                paper, same = ids[row.key], "id is that"
            elif match := index.find(row.paper.abstract):
                paper, similarity = match.value, round(match.similarity, 4)
                same = "abstract is that" if match.exact else "abstract is nearly that"
            else:
                kept.append(row)
                continue
            reason, split = f"its {same} of a paper kept for {paper.split}", paper.split
            out.append(row.left_out("excluded", reason, paper, similarity=similarity, split=split))
            new.append(HeldOutPaper(split, row.paper.id, row.where, row.paper.abstract))
    return kept, out


def merge(
    entries: Mapping[Source, Iterable[TableRow | InputError]],
    files: Mapping[Source, Sequence[Path]],
    dev: Sequence[str],
    test: Sequence[str],
    choices: Choices,
    reading: Reading,
    tick: Callable[[str], None],
) -> Dataset:
    """Return the training set: gold rows replace curated rows, and both replace agent rows.

    The steps are: remove invalid rows; remove held-out papers; keep one row for each paper; with
    `curated_only`, remove agent rows; keep the first of several rows with nearly the same abstract.

    Args:
        files: the tables that the rows come from, for the manifest.
        dev, test: the papers to hold out, as in `read_held_out`.
        tick: called with the current step, such as "reading gold".

    Raises:
        InputError: a table or a list of ids cannot be read, or no row is left.
    """
    held_out = [
        *(read_held_out("dev", given, reading) for given in dev),
        *(read_held_out("test", given, reading) for given in test),
    ]
    named = [
        *((source, path) for source in SOURCES for path in files.get(source, ())),
        *((held.split, held.path) for held in held_out if held.path is not None),
    ]
    rows, excluded = list[AnnotationRow](), list[LeftOut]()
    for source in SOURCES:
        tick(f"reading {source}")
        valid, invalid = valid_rows(source, entries[source], reading.framework)
        rows += valid
        excluded += invalid
    tick("comparing abstracts")
    rows, held = _without_held_out(rows, held_out, AbstractIndex(choices.max_similarity))
    rows, overridden = _first_of_each_paper(rows)
    excluded += (*held, *overridden)
    if choices.curated_only:
        reason = "it is not among the curated annotations"
        agent = [row for row in rows if row.source == "agent"]
        excluded += (row.left_out("not_curated", reason) for row in agent)
        rows = [row for row in rows if row.source != "agent"]
    rows, duplicates = _without_duplicates(rows, AbstractIndex(choices.max_similarity))
    excluded += duplicates
    if not rows:
        first = f" The first: {excluded[0].where}: {excluded[0].reason}." if excluded else ""
        raise InputError(
            "no row is left to train on",
            hint=f"Rows that were read and left out: {len(excluded):,}.{first}",
        )
    return Dataset(
        reading.framework,
        tuple(rows),
        tuple(sorted(excluded, key=lambda left: SOURCES.index(left.source))),
        choices,
        tuple(held_out),
        tuple(
            {"role": role, "path": shown(path), "sha256": file_sha256(path.expanduser())}
            for role, path in named
        ),
    )


def _first_of_each_paper(rows: list[AnnotationRow]) -> Step:
    """Return the first row of each paper, and a record of each other row."""
    kept: dict[str, AnnotationRow] = {}
    out = []
    for row in rows:
        over = kept.setdefault(row.key, row)
        if over is not row:
            other = " with another abstract" if over.paper.sha256 != row.paper.sha256 else ""
            out.append(row.left_out("overridden", f"{over.source} has the paper{other}", over))
    return list(kept.values()), out


def _without_duplicates(rows: list[AnnotationRow], index: AbstractIndex[AnnotationRow]) -> Step:
    """Return the first row of each group of similar abstracts, and a record of each other row."""
    kept, out = [], []
    for row in rows:
        if (match := index.find(row.paper.abstract)) is None:
            index.add(row.paper.abstract, row)
            kept.append(row)
        else:
            reason = f"another paper has {'' if match.exact else 'nearly '}the same abstract"
            similarity = round(match.similarity, 4)
            out.append(row.left_out("near_duplicate", reason, match.value, similarity=similarity))
    return kept, out
