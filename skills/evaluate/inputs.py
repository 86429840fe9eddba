"""Read the input: a table with gold annotations, or abstracts with labelled sentences."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import InputError
from harness.support.text_input import place, regular_file, shown
from skills.annotate import plan
from skills.annotate.papers import check_length
from skills.annotate.plan import Source
from skills.corpus.table import Table, TableRow, open_table
from skills.corpus.tables.columns import Columns
from skills.corpus.tables.refusals import Refusals, accepted, refusing
from skills.corpus.tables.text_tables import JsonlReader
from skills.evaluate.annotators import Labelled, Moves, Subject
from skills.evaluate.source_metrics import LABELS
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

_FORMAT = (
    "Each line is an object with paper_id, sentences and labels, two lists of the same length."
)
_Sentence = Annotated[str, Field(min_length=1, pattern=r"\S")]


def with_gold(
    path: Path,
    columns: Columns,
    framework: Framework,
    limit: int | None,
    notice: Callable[[str], None] = lambda _: None,
) -> Subject:
    """Read the papers and the gold of a table, which has a column for each move.

    A row is refused if its abstract is too long, or if a move is empty or too long.

    Args:
        notice: as in `open_table`.

    Raises:
        InputError: the table cannot be read, lacks the column of a move, or has no usable row.
    """
    table = open_table(path, columns, moves=framework.names, limit=limit, notice=notice)
    table.require_moves()
    gold: dict[tuple[str, str], Moves] = {}
    source = plan.from_rows(table, _with_gold(table, framework, gold))
    return Subject(source, framework, [gold[one.id, one.sha256] for one in source.papers])


def _with_gold(
    table: Table, framework: Framework, gold: dict[tuple[str, str], Moves]
) -> Generator[TableRow | InputError, None, None]:
    """Yield the rows of a table, and add their moves to `gold`; repeated rows are not added."""
    for row in table.rows_or_errors():
        if isinstance(row, InputError) or row.repeat or not plan.is_long_enough(row.paper):
            yield row
            continue
        with refusing(row.where) as refused:
            gold[row.paper.id, row.paper.sha256] = row.valid_moves(framework)
            check_length(row.paper, framework.max_words, row.where)
        yield refused.error or row


def with_labels(path: Path, framework: Framework, limit: int | None) -> Subject:
    """Read a .jsonl file of abstracts with labels of their sentences, as in CSAbstruct.

    A line is refused if its abstract is too short or too long.

    Raises:
        InputError: the file cannot be read or is empty, or no line can be used.
    """
    if path.suffix.lower() != ".jsonl":
        hint = f"They are read from .jsonl files. {_FORMAT}"
        raise InputError("is not a file of labelled sentences", where=shown(path), hint=hint)
    refused = Refusals()
    found = list(accepted(_labelled(path, framework, limit), refused.add))
    if not found:
        refused.raise_first()
        raise InputError("contains no abstracts", where=shown(path), hint=_FORMAT)
    papers = [paper for paper, _ in found]
    filtered = Counter({"refused": len(refused)} if refused else {})
    source = Source(shown(path), papers, "paper_id", filtered, refused, path)
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
) -> Generator[tuple[Paper, Labelled] | InputError, None, None]:
    seen: dict[str, int] = {}
    for number, row in itertools.islice(JsonlReader(regular_file(path)).rows(()), limit):
        where = place(path, "line", number)
        with refusing(where) as refused:
            if isinstance(row, InputError):
                raise row
            line = _line(row, where)
            first = seen.setdefault(line.paper_id, number)
            if first != number:
                raise InputError(f"has the paper_id {line.paper_id} of line {first}", where=where)
            sentences = tuple(flatten(sentence) for sentence in line.sentences)
            # An empty line ends a sentence, however the abstract is split.
            abstract = "\n\n".join(sentences)
            given = {"kind": "table", "path": shown(path), "row": str(number)}
            paper = Paper("paper_id", line.paper_id, "", abstract, given)
            check_length(paper, framework.max_words, where)
        yield refused.error or (paper, Labelled(sentences, tuple(line.labels)))


def _line(row: dict[str, Any], where: str) -> _Line:
    try:
        return _Line.model_validate(row)
    except ValidationError as exc:
        error = exc.errors()[0]
        at = f"{error['loc'][0]}: " if error["loc"] else ""
        message = error["msg"].removeprefix("Value error, ")
        raise InputError(f"{at}{message}", where=where, hint=_FORMAT) from exc
