"""Read a table of gold, abstracts with labelled sentences, or an earlier evaluation.

The .json file of an evaluation contains the digests of abstracts and gold, and the texts of the
annotations, so that the earlier and the new annotations are measured by the same code. The file of
a published model contains only figures, since annotations would quote abstracts.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from harness.errors import InputError, first_error
from harness.support.bounded_files import read_text
from harness.support.text_input import place, reading, regular_file, shown
from skills.annotate import plan
from skills.annotate.papers import check_length
from skills.annotate.plan import Source
from skills.corpus.table import Table, TableRow, open_table
from skills.corpus.tables.columns import Columns
from skills.corpus.tables.refusals import Refusals, accepted, refusing
from skills.corpus.tables.text_tables import JsonlReader
from skills.evaluate.annotators import Annotator, Labelled, Moves, Subject
from skills.evaluate.outputs import Answer, Evaluated, Evaluation, PaperDigests
from skills.evaluate.source_metrics import LABELS
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.nanda.text import counted, flatten

_FORMAT = (
    "Each line is an object with paper_id and two lists of the same length: sentences and labels."
)
MAX_BYTES = 200_000_000
"""Maximum size in bytes of a saved evaluation: about 50,000 papers of one model."""
HINT = "`/evaluate ... save to FILE.json` writes an evaluation."
OF_GOLD = ("stated", "overlap")
"""Metrics of the gold annotations that do not depend on the abstracts."""
FACTS = ("model", "served", "form", "digests", "slots", "answered_by", "failed", "speed")
"""The fields of `Evaluated` that a report shows in addition to the figures of a model."""
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
        limit: maximum number of rows to read; None for all rows.
        notice: called with assumptions about the file, and with the columns that are not read.

    Raises:
        InputError: the table cannot be read, lacks the column of a move, or has no usable row.
    """
    table = open_table(path, columns, moves=framework.names, limit=limit, notice=notice)
    table.require_moves()
    gold: dict[tuple[str, str], Moves] = {}
    source = plan.source_of(table, papers := list[Paper]())
    rows = _with_gold(table, framework, gold)
    papers += [row.paper for row in plan.usable_rows(source, rows)]
    return Subject(source, framework, [gold[one.id, one.sha256] for one in papers])


def _with_gold(
    table: Table, framework: Framework, gold: dict[tuple[str, str], Moves]
) -> Generator[TableRow | InputError, None, None]:
    """Yield each row of a table or its error, and add the moves of the row to `gold`.

    The moves of a repeated row, or of a row whose abstract is too short, are not added.

    Args:
        gold: the moves of each paper, by the id of the paper and the digest of its abstract.
    """
    for row in table.rows_or_errors():
        if isinstance(row, InputError) or row.repeat or not plan.is_long_enough(row.paper):
            yield row
            continue
        with refusing(row.where) as refused:
            gold[row.paper.id, row.paper.sha256] = row.valid_moves(framework)
            check_length(row.paper, framework.max_words, row.where)
        yield refused.error or row


def with_labels(path: Path, framework: Framework, limit: int | None) -> Subject:
    """Read a .jsonl file of abstracts whose sentences have labels, as in CSAbstruct.

    A line is refused if it is not valid, if its abstract is too short or too long, or if an earlier
    line has the same paper_id.

    Args:
        limit: maximum number of lines to read; None for all lines.

    Raises:
        InputError: the file is not a .jsonl file, cannot be read, or has no usable line.
    """
    if path.suffix.lower() != ".jsonl":
        hint = f"Labelled sentences are read from .jsonl files. {_FORMAT}"
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
    paper_id: str = Field(min_length=1)
    sentences: list[_Sentence] = Field(min_length=1)
    labels: list[str]

    @model_validator(mode="after")
    def _fits(self) -> _Line:
        if len(self.labels) != len(self.sentences):
            raise ValueError(f"sentences: {len(self.sentences)}, labels: {len(self.labels)}")
        if strange := [label for label in self.labels if label not in LABELS]:
            raise ValueError(f"{strange[0]!r} is not a label; the labels are {', '.join(LABELS)}")
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
            try:
                line = _Line.model_validate(row)
            except ValidationError as exc:
                raise InputError(first_error(exc), where=where, hint=_FORMAT) from exc
            first = seen.setdefault(line.paper_id, number)
            if first != number:
                raise InputError(f"has the paper_id {line.paper_id} of line {first}", where=where)
            sentences = tuple(flatten(sentence) for sentence in line.sentences)
            # The empty lines prevent `split_sentences` from joining two labelled sentences.
            abstract = "\n\n".join(sentences)
            given = {"kind": "table", "path": shown(path), "row": str(number)}
            paper = Paper("paper_id", line.paper_id, "", abstract, given)
            check_length(paper, framework.max_words, where)
        yield refused.error or (paper, Labelled(sentences, tuple(line.labels)))


def papers_of(subject: Subject) -> list[PaperDigests]:
    """Return the id of each paper, with the digests of the abstract and of the gold or labels."""
    gold: Sequence[Any] = subject.gold or [asdict(one) for one in subject.labelled or ()]
    return [
        PaperDigests(id=paper.id, abstract=paper.sha256, gold=sha256_of(dict(given)))
        for paper, given in zip(subject.papers, gold, strict=True)
    ]


def load_evaluation(path: Path) -> Evaluation:
    """Read a saved evaluation.

    Raises:
        InputError: the file cannot be read, or is not an evaluation.
    """
    where = shown(path)
    with reading(path):
        text = read_text(regular_file(path, what="an evaluation"), MAX_BYTES)
    try:
        return Evaluation.model_validate(json.loads(text))
    except ValidationError as exc:
        raise _not_one(f"is not an evaluation ({first_error(exc)})", where) from exc
    except (ValueError, RecursionError) as exc:
        raise _not_one("is not JSON", where) from exc


def earlier_model(path: Path, subject: Subject, name: str) -> Annotator | Evaluation:
    """Return the model of a saved evaluation, for a comparison on the papers of `subject`.

    Args:
        name: the model to select if the file has several models.

    Returns:
        An `Annotator` with the model's annotations, or an `Evaluation` of this model alone if the
            file has only figures.

    Raises:
        InputError: the file is not an evaluation, its moves, papers or gold differ from `subject`,
            or neither the file nor `name` determines one model.
    """
    where = shown(path)
    file = load_evaluation(path)
    if moves := set(subject.framework.names) ^ set(file.framework.get("moves", ())):
        raise InputError(
            f"was made with other moves: {', '.join(sorted(moves))}",
            where=where,
            hint="Select the framework of that evaluation with --framework.",
        )
    model = _selected(file, name, where)
    shown_name = f"{model.name} ({path.name})"
    if file.by_paper is None or model.by_paper is None or model.speed is None:
        if file.papers != len(subject.papers):
            raise _other_gold(f"it has {counted(file.papers, 'paper')}", where)
        stored = model.model_copy(update={"name": shown_name, "kind": "stored"})
        return file.model_copy(update={"annotators": [stored]})
    answers = _in_order(file.by_paper, model.by_paper, subject, where)
    facts = model.model_dump(include={*FACTS})
    return Annotator(shown_name, answers, facts, kind="stored")


def require_same_gold(stored: Evaluation, found: Evaluation) -> None:
    """Check that two evaluations have the same gold, by the figures of the gold.

    The digests of the gold are not compared, since a file with only figures has no digests.

    Raises:
        InputError: the figures differ, so that the gold must differ, too.
    """
    of_gold = [
        (one.gold or {}, one.annotators[0].metrics.get("label_prior")) for one in (stored, found)
    ]
    (before, prior), (now, prior_now) = of_gold
    if any(before.get(name) != now.get(name) for name in OF_GOLD) or prior != prior_now:
        raise _other_gold("figures of the gold itself differ", stored.annotators[0].name)


def _selected(file: Evaluation, name: str, where: str) -> Evaluated:
    models = [one for one in file.annotators if one.kind == "model"]
    named = [one for one in models if one.name == name]
    if len(named or models) == 1:
        return (named or models)[0]
    names = ", ".join(one.name for one in models)
    raise InputError(
        f"has {counted(len(models), 'model')} and none is {name}: {names}"
        if models
        else "has no model",
        where=where,
        hint="Give a file with one model, or with the model to compare.",
    )


def _in_order(
    papers: Sequence[PaperDigests], answers: Sequence[Answer], subject: Subject, where: str
) -> list[Answer]:
    """Return the stored answers in the order of the papers of `subject`.

    Raises:
        InputError: the papers or their gold differ, or an answer lacks a move.
    """
    names = set(subject.framework.names)
    moves = itertools.chain.from_iterable(
        (one.moves, *itertools.chain.from_iterable((one.again or {}).values())) for one in answers
    )
    if len(papers) != len(answers) or any(one is not None and set(one) != names for one in moves):
        raise _not_one("is not an evaluation (by_paper)", where)
    there = {(one.id, one.abstract): i for i, one in enumerate(papers)}
    here = {(one.id, one.abstract): one.gold for one in papers_of(subject)}
    absent, further = here.keys() - there.keys(), there.keys() - here.keys()
    known = here.keys() & there.keys()
    changed = sum(here[key] != papers[there[key]].gold for key in known)
    what = "labels" if subject.gold is None else "moves"
    parts = [f"{counted(len(absent), 'paper')} of {len(here):,} not in it"] * bool(absent)
    parts += [f"{counted(len(further), 'other paper')} in it"] * bool(further)
    parts += [f"other {what} for {counted(changed, 'paper')}"] * bool(changed)
    if parts:
        raise _other_gold("; ".join(parts), where)
    return [answers[there[key]] for key in here]


def _other_gold(what: str, where: str) -> InputError:
    return InputError(
        f"was made with another gold: {what}",
        where=where,
        hint="Compare evaluations of the same papers, moves and --limit.",
    )


def _not_one(what: str, where: str) -> InputError:
    return InputError(what, where=where, hint=HINT)
