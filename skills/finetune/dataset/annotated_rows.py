"""Read and validate rows of annotations, and write their prompts and completions.

The form `TaggedForm` writes prompt and completion. `/annotate` uses the same form for the requests
to tuned models and for parsing their answers, so that training and use cannot diverge. The texts
contain no chat template: the stage `prepare` adds the template of the base for training, and the
engine adds it for `/annotate`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from harness.errors import InputError
from harness.models.backend import Message
from skills.corpus.table import Columns, TableRow, open_table, paper_key
from skills.corpus.tables.refusals import accepted, refusing
from skills.finetune.dataset.dataset_options import Source
from skills.nanda.framework import Framework, nanda
from skills.nanda.generated_forms import TaggedForm
from skills.nanda.paper import Paper
from skills.nanda.text import sanitize

SOURCES: tuple[Source, ...] = get_args(Source)
"""The sources of rows in order of precedence."""
Split = Literal["dev", "test"]
Why = Literal["rejected", "repeated", "excluded", "overridden", "not_curated", "near_duplicate"]
WHYS: tuple[Why, ...] = get_args(Why)
"""The reasons why a row is left out, in the order of the checks."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The settings for reading tables.

    Attributes:
        columns: the column names that the user has given, for all tables.
        corpus: the database with the abstracts for tables without a column of abstracts; None for
            the user's corpus. The database is opened only for such tables.
        notice: as in `open_table`.
    """

    framework: Framework = field(default_factory=nanda)
    columns: Columns = field(default_factory=Columns)
    corpus: Path | None = None
    notice: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is left out of the data set, with the reason.

    Attributes:
        of, of_where: id and place of the row that is used instead, or of the held-out paper; None
            if there is no such row or paper.
        similarity: the similarity of the abstracts of `id` and `of`, 0 to 1; None if similarity is
            not the reason.
        split: "dev" or "test" if the row belongs to a held-out paper; otherwise None.
    """

    source: Source
    where: str
    id: str
    why: Why
    reason: str
    of: str | None = None
    of_where: str | None = None
    similarity: float | None = None
    split: Split | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are not None, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class HeldOutPaper:
    """A held-out paper; `abstract` is "" if only the id is known."""

    split: Split
    id: str
    where: str
    abstract: str = ""


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """A valid row of annotations.

    Attributes:
        where: the place of the row in words, such as "gold.csv, line 7".
        moves: the one-line text of each move, in the order of the framework.
        completion: the moves in the form that the model learns.
    """

    source: Source
    where: str
    paper: Paper
    moves: Mapping[str, str]
    completion: str

    @property
    def id(self) -> str:
        return self.paper.id

    @property
    def key(self) -> str:
        """The paper's id in the form that is compared with other ids."""
        return paper_key(self.id)

    def left_out(
        self,
        why: Why,
        reason: str,
        instead: AnnotationRow | HeldOutPaper | None = None,
        **more: Any,
    ) -> LeftOut:
        """Return the `LeftOut` record of this row.

        Args:
            instead: the row that is used instead, or the held-out paper.
            more: further fields of the record.
        """
        of, of_where = (None, None) if instead is None else (instead.id, instead.where)
        return LeftOut(self.source, self.where, self.id, why, reason, of, of_where, **more)


Step = tuple[list[AnnotationRow], list[LeftOut]]
"""The rows that a step of `merging.merge` keeps, and the rows that the step leaves out."""


def valid_rows(
    source: Source, entries: Iterable[TableRow | InputError], framework: Framework
) -> Step:
    """Return the first valid row of each paper, and a record of each other row.

    A row is valid if it has an abstract, and a valid text for every move.

    Args:
        entries: the rows in order; a row that cannot be read is represented by its error.
    """
    rows: dict[str, AnnotationRow] = {}
    out = []
    for entry in entries:
        if isinstance(entry, InputError):
            out.append(LeftOut(source, entry.where or "", "", "rejected", entry.message))
            continue
        with refusing(entry.where) as refused:
            if not entry.paper.abstract:
                raise InputError("has no abstract")
            moves = entry.valid_moves(framework)
            completion = completion_of(moves, framework)
        if refused.error:
            reason = refused.error.message
            out.append(LeftOut(source, entry.where, entry.paper.id, "rejected", reason))
            continue
        row = AnnotationRow(source, entry.where, entry.paper, moves, completion)
        first = rows.setdefault(row.key, row)
        if first is not row:
            reason = "the same row occurs earlier"
            if row.paper.sha256 != first.paper.sha256:
                reason = "the paper occurs earlier, with another abstract"
            elif row.moves != first.moves:
                reason = "the paper occurs earlier, with other moves"
            out.append(row.left_out("repeated", reason, first))
    return list(rows.values()), out


def read_annotations(
    paths: Sequence[Path], reading: Reading
) -> Generator[TableRow | InputError, None, None]:
    """Yield all rows of tables of annotations in order; for an unreadable row, yield its error.

    Raises:
        InputError: a file cannot be read or lacks a move.
    """
    for path in paths:
        yield from _rows(path, reading, annotated=True)


def read_papers(path: Path, reading: Reading) -> Iterator[TableRow]:
    """Yield all rows of a table of papers, with or without annotations.

    Raises:
        InputError: the file or a row cannot be read, or the table has no column of abstracts and
            the corpus lacks the abstract of a row.
    """
    return accepted(_rows(path, reading, annotated=False))


def _rows(
    path: Path, reading: Reading, *, annotated: bool
) -> Generator[TableRow | InputError, None, None]:
    """Yield all rows of a table; for an unreadable row, yield its error.

    If the table has no column of abstracts, the abstracts come from the corpus.

    Args:
        annotated: True to require a column for each move.
    """
    table = open_table(
        path,
        reading.columns,
        moves=reading.framework.names,
        abstract_by="provenance",
        notice=reading.notice,
    )
    if annotated:
        table.require_moves()
    if table.has_abstracts:
        yield from table.rows_or_errors()
        return
    from harness import settings
    from skills.corpus.db.connection import default_path, open_corpus
    from skills.corpus.importer import complete_rows

    corpus = reading.corpus or default_path(settings.from_environment())
    with open_corpus(corpus, must_exist=True) as db:
        yield from complete_rows(db, table)


def format_annotation_prompt(abstract: str, framework: Framework | None = None) -> str:
    """Return the user message: the abstract on one line, with special tokens and tags broken up."""
    return _messages(abstract, framework)[-1].content


def format_annotation_system(framework: Framework | None = None) -> str:
    """Return the system message, which is the same for every abstract."""
    return _messages("", framework)[0].content


def format_annotation_output(moves: Mapping[str, Any], framework: Framework | None = None) -> str:
    """Return the completion: `<annotation>`, a line for each move, and `</annotation>`.

    The completion has no end token.

    Special tokens and tags in a move are broken up as in the prompt, since a tokenizer would take
    "<|im_end|>" for the end of the answer. `TaggedForm.parse` restores each move exactly if the
    move contains no special token and no tag.

    Args:
        moves: the moves by name; other keys, such as the columns of a table, are ignored.

    Raises:
        InputError: a move is missing, empty, too long, or cannot be written on one line.
    """
    framework = framework or nanda()
    return completion_of(framework.valid_moves(moves), framework)


def completion_of(valid: Mapping[str, str], framework: Framework) -> str:
    """Return the completion for moves that the framework has validated.

    Raises:
        InputError: a move cannot be written on one line.
    """
    try:
        return TaggedForm(framework).completion({name: sanitize(valid[name]) for name in valid})
    except ValueError as exc:
        raise InputError(str(exc)) from exc


def chat_messages(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the system and the user message of a row, as `/annotate` sends them."""
    return [
        {"role": "system", "content": row["system"]},
        {"role": "user", "content": row["prompt"]},
    ]


def _messages(abstract: str, framework: Framework | None) -> tuple[Message, ...]:
    return TaggedForm(framework or nanda()).messages(Paper("id", "", "", abstract))
