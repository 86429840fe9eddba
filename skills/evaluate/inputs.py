"""Input: a table with gold annotations, or abstracts with labelled sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import InputError
from harness.support.text_input import place, regular_file, shown
from skills.annotate.papers import check_length
from skills.annotate.table import sources
from skills.annotate.table.sources import Source
from skills.corpus.tables.columns import Columns
from skills.corpus.tables.jsonl_reader import JsonlReader
from skills.corpus.tables.reader import open_table
from skills.evaluate.annotators import Labelled, Subject
from skills.evaluate.metrics.labels import LABELS
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

_FORMAT = (
    "Each line is an object with paper_id, sentences and labels, two lists of the same length."
)
_Sentence = Annotated[str, Field(min_length=1, pattern=r"\S")]


def with_gold(path: Path, columns: Columns, framework: Framework, limit: int | None) -> Subject:
    """Read the papers of a table with a column for each move.

    Raises:
        InputError: the table is unusable, a move's column is missing, an abstract is too long, or
            a move is empty or too long.
    """
    table = open_table(path, columns, moves=framework.names, limit=limit)
    table.require_moves()
    rows = list(table.rows())
    source = sources.from_rows(table, rows)
    by_paper = {(row.paper.id, row.paper.sha256): row for row in reversed(rows)}
    annotated = [by_paper[paper.id, paper.sha256] for paper in source.papers]
    gold = [row.valid_moves(framework) for row in annotated]
    for row in annotated:
        check_length(row.paper, framework.max_words, row.where)
    return Subject(source, framework, gold)


def with_labels(path: Path, framework: Framework, limit: int | None) -> Subject:
    """Read abstracts with human sentence labels from a .jsonl file, as in CSAbstruct.

    Raises:
        InputError: it is unreadable or empty, or an abstract is too short or too long.
    """
    if path.suffix.lower() != ".jsonl":
        hint = f"They are read from .jsonl files. {_FORMAT}"
        raise InputError("is not a file of labelled sentences", where=shown(path), hint=hint)
    found = list(_labelled(path, framework, limit))
    if not found:
        raise InputError("contains no abstracts", where=shown(path), hint=_FORMAT)
    papers = [paper for paper, _ in found]
    source = Source(str(path), papers, "paper_id", len(papers), path=path)
    return Subject(source, framework, labelled=[labelled for _, labelled in found])


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    paper_id: str = Field(min_length=1)
    sentences: list[_Sentence] = Field(min_length=1)
    labels: list[str]

    @model_validator(mode="after")
    def _fits(self) -> _Line:
        if len(self.labels) != len(self.sentences):
            raise ValueError(f"{len(self.sentences)} sentences have {len(self.labels)} labels")
        if strange := [label for label in self.labels if label not in LABELS]:
            raise ValueError(f"{strange[0]!r} is not a label; they are {', '.join(LABELS)}")
        return self


def _labelled(
    path: Path, framework: Framework, limit: int | None
) -> Iterator[tuple[Paper, Labelled]]:
    seen: dict[str, int] = {}
    for number, row in JsonlReader(regular_file(path)).rows(()):
        if limit is not None and len(seen) == limit:
            return
        where = place(path, "line", number)
        line = _line(row, where)
        first = seen.setdefault(line.paper_id, number)
        if first != number:
            raise InputError(f"has the paper_id {line.paper_id} of line {first}", where=where)
        sentences = tuple(flatten(sentence) for sentence in line.sentences)
        # An empty line ends a sentence for `split_sentences`; in the prompt it is a blank.
        abstract = "\n\n".join(sentences)
        given = {"kind": "table", "path": shown(path), "row": str(number)}
        paper = Paper("paper_id", line.paper_id, "", abstract, given)
        check_length(paper, framework.max_words, where)
        yield paper, Labelled(sentences, tuple(line.labels))


def _line(row: dict[str, Any], where: str) -> _Line:
    try:
        return _Line.model_validate(row)
    except ValidationError as exc:
        error = exc.errors()[0]
        at = f"{error['loc'][0]}: " if error["loc"] else ""
        message = error["msg"].removeprefix("Value error, ")
        raise InputError(f"{at}{message}", where=where, hint=_FORMAT) from exc
