"""Evaluations saved as .json: what they store of each paper, and reading one to compare with it.

Abstracts and gold are stored as digests. The annotations are stored themselves, so that a later
evaluation measures both sides with the same code.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import InputError
from harness.support.bounded_files import read_text
from harness.support.text_input import reading, regular_file, shown
from skills.evaluate.annotators import Annotator, Answers, Kind, Subject
from skills.nanda.framework import sha256_of
from skills.nanda.text import counted

_OF_GOLD = ("stated", "overlap")
"""Metrics of the gold itself that do not depend on abstracts."""
_OF_LABELS = ("label_prior",)
_Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Figures:
    """A model in a file of an earlier version, which has figures but no annotations by paper.

    Attributes:
        metrics: figures by metric and move, as in the JSON.
        facts: the other entries of the model in the JSON.
        gold: those figures that are about the gold or the labels alone, not about abstracts.
        where: the file, for messages.
    """

    name: str
    metrics: _Metrics
    facts: Mapping[str, Any]
    gold: _Metrics
    where: str


def papers_of(subject: Subject) -> list[dict[str, str]]:
    """Return the id of each paper with the digests of its abstract and gold."""
    gold: Sequence[Any] = subject.gold or [asdict(one) for one in subject.labelled or ()]
    return [
        {"id": paper.id, "abstract": paper.sha256, "gold": sha256_of(dict(given))}
        for paper, given in zip(subject.papers, gold, strict=True)
    ]


def answers_of(annotator: Annotator) -> list[dict[str, Any]]:
    """Return the answers of a model, one for each paper."""
    answers = annotator.answers
    assert answers is not None
    found = []
    for i, moves in enumerate(annotator.annotations):
        one: dict[str, Any] = {
            "moves": moves and dict(moves),
            "valid": answers.valid[i],
            "tokens": answers.tokens[i],
        }
        if anchors := annotator.anchors_of(i):
            one["anchors"] = dict(anchors)
        if confidence := annotator.confidence_of(i):
            one["confidence"] = dict(confidence)
        if answers.valid_freely is not None:
            one["valid_freely"] = answers.valid_freely[i]
        if answers.runs and answers.included[i]:
            one["again"] = {kind: [run[i] for run in runs] for kind, runs in answers.runs.items()}
        found.append(one)
    return found


def read(path: Path, subject: Subject, name: str) -> Annotator | Figures:
    """Read the model that a saved evaluation is about, to compare with the papers of `subject`.

    Args:
        name: the model to take if the file has several.

    Raises:
        InputError: the file is not an evaluation, is about other papers or another gold, or has
            several models and none of this name.
    """
    where = shown(path)
    file = load(path)
    if moves := set(subject.framework.names) ^ set(file.framework.get("moves", ())):
        raise InputError(
            f"was made with other moves: {', '.join(sorted(moves))}",
            where=where,
            hint="--framework selects the framework.",
        )
    model = _selected(file, name, where)
    shown_name = f"{model.name} ({path.name})"
    with validating(where):
        facts = Facts.model_validate(model.model_extra)
    if file.by_paper is None or model.by_paper is None:
        if file.papers != len(subject.papers):
            raise _other_gold(f"it is about {counted(file.papers, 'paper')}", where)
        metrics = _dumped(model.metrics)
        known = gold_figures(_dumped(file.gold) if file.gold else None, metrics)
        return Figures(shown_name, metrics, facts.model_dump(), known, where)
    answers = _in_order(file.by_paper, model.by_paper, subject, where)
    return _annotator(shown_name, facts, answers)


def gold_figures(gold: _Metrics | None, model: _Metrics) -> _Metrics:
    """Return the figures that are about the gold or the labels alone."""
    metrics, among = (_OF_LABELS, model) if gold is None else (_OF_GOLD, gold)
    return {metric: among.get(metric, {}) for metric in metrics}


def require_same_gold(figures: Figures, gold: _Metrics) -> None:
    """Raise if an earlier file, which has no digests, has other figures of the gold.

    Raises:
        InputError: it has.
    """
    differ, count = 0, 0
    for metric, moves in gold.items():
        before = figures.gold.get(metric, {})
        count += len(moves)
        differ += sum(
            move not in before or before[move]["value"] != figure["value"]
            for move, figure in moves.items()
        )
    if differ:
        raise _other_gold(
            f"{differ:,} of {count:,} figures of the gold itself differ", figures.where
        )


def _dumped(metrics: Mapping[str, Mapping[str, Figure]]) -> _Metrics:
    return {
        metric: {move: figure.model_dump() for move, figure in moves.items()}
        for metric, moves in metrics.items()
    }


def _selected(file: File, name: str, where: str) -> Listed:
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
        hint="Save an evaluation of one model.",
    )


def _in_order(
    papers: Sequence[Paper], answers: Sequence[Answer], subject: Subject, where: str
) -> list[Answer]:
    """Return the answers in the order of the subject's papers.

    Raises:
        InputError: the papers or their gold are not the same, or an answer lacks a move.
    """
    names = set(subject.framework.names)
    found = (moves for one in answers for moves in _annotations(one) if moves is not None)
    if len(papers) != len(answers) or any(set(moves) != names for moves in found):
        raise InputError("is not an evaluation (by_paper)", where=where, hint=HINT)
    there = {(one.id, one.abstract): i for i, one in enumerate(papers)}
    here = {(one["id"], one["abstract"]): one["gold"] for one in papers_of(subject)}
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


def _annotations(answer: Answer) -> Iterator[Mapping[str, str] | None]:
    yield answer.moves
    for runs in (answer.again or {}).values():
        yield from runs


def _annotator(name: str, facts: Facts, answers: Sequence[Answer]) -> Annotator:
    again = [one.again or {} for one in answers]
    # By paper in the file, by run here; a paper that was not annotated again has None in each.
    runs = {
        kind: list(zip_longest(*(one.get(kind, ()) for one in again)))
        for kind in {kind: None for one in again for kind in one}
    }
    freely = [one.valid_freely for one in answers]
    return Annotator(
        name,
        [one.moves for one in answers],
        Answers(
            valid=[one.valid for one in answers],
            valid_freely=None if None in freely else [bool(one) for one in freely],
            tokens=[one.tokens for one in answers],
            failed=facts.failed,
            speed=facts.speed.model_dump(),
            about=facts.model_dump(exclude={"failed", "speed"}),
            runs=runs,
            included=[bool(one) for one in again],
        ),
        anchors=[one.anchors for one in answers],
        confidence=[one.confidence for one in answers],
        stored=True,
    )


def _other_gold(what: str, where: str) -> InputError:
    return InputError(
        f"was made with another gold: {what}",
        where=where,
        hint="Compare evaluations of the same papers, moves and --limit.",
    )


MAX_BYTES = 200_000_000
"""Maximum size of a file that is read: about 50,000 papers of one model."""
HINT = "`/evaluate ... save to FILE.json` writes one."


class Paper(BaseModel):
    id: str
    abstract: str
    gold: str


class Answer(BaseModel):
    moves: dict[str, str] | None
    anchors: dict[str, Any] | None = None
    confidence: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    valid: bool
    valid_freely: bool | None = None
    tokens: tuple[int, int] | None
    again: dict[Kind, list[dict[str, str] | None]] | None = None


class Figure(BaseModel):
    value: float | None
    low: float | None
    high: float | None
    papers: int
    why: str


class Speed(BaseModel):
    papers_per_minute: float | None
    papers: int
    memory: int | None


class Facts(BaseModel):
    """What a report shows of a model besides its figures."""

    model: str
    served: str
    form: str
    digests: dict[str, str]
    slots: int
    answered_by: dict[str, Any] = {}
    failed: dict[str, int]
    speed: Speed


class Listed(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    kind: str
    metrics: dict[str, dict[str, Figure]]
    by_paper: list[Answer] | None = None
    score_by_paper: list[float] | None = None


class File(BaseModel):
    papers: int
    framework: dict[str, Any]
    gold: dict[str, dict[str, Figure]] | None
    annotators: list[Listed] = Field(min_length=1)
    by_paper: list[Paper] | None = None
    score: str = ""


def load(path: Path) -> File:
    """Read a saved evaluation.

    Raises:
        InputError: it cannot be read, or is not an evaluation.
    """
    with reading(path):
        text = read_text(regular_file(path, what="an evaluation"), MAX_BYTES)
    with validating(shown(path)):
        return File.model_validate(json.loads(text))


@contextlib.contextmanager
def validating(where: str) -> Iterator[None]:
    """Translate the errors of reading a file's content."""
    try:
        yield
    except ValidationError as exc:
        error = exc.errors()[0]
        at = ".".join(map(str, error["loc"]))[:60]
        raise InputError(
            f"is not an evaluation ({at}: {error['msg']})", where=where, hint=HINT
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise InputError("is not JSON", where=where, hint=HINT) from exc
