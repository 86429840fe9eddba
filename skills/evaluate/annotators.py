"""Who is compared: models, and two baselines that need none.

An annotator's annotations are one for each paper, in the order of the papers: the moves by name,
"Not stated." included, or None where it gave none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import InputError, InvalidReply
from skills.evaluate.variations import Kind
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten

Moves = Mapping[str, str]
INVALID = InvalidReply.__name__
"""The class of error of an answer that is no annotation."""
FINDINGS = frozenset({INVALID, InputError.__name__})
"""The classes of errors that are findings about a model, such as a prompt that does not fit its
context: another try changes nothing. Any other is a fault of the run."""
LEAD, OTHER = "lead sentences", "another paper's annotation"


@dataclass(frozen=True, slots=True)
class Repeated:
    """What a model said when it was asked again about some of the papers.

    Attributes:
        runs: by kind, of each way of asking an annotation for each paper; None where it gave none.
        asked: of which papers it was asked, in the order of the papers.
    """

    runs: Mapping[Kind, Sequence[Sequence[Moves | None]]]
    asked: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a model annotated.

    Attributes:
        per_minute: papers a minute, None where none was timed.
        papers: of how many.
        memory: bytes of this process with the model in it, None where it is served elsewhere.
    """

    per_minute: float | None = None
    papers: int = 0
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model's papers took beside the moves. All lists are in the order of the papers.

    Attributes:
        valid: whether the first answer was a valid annotation.
        valid_freely: the same without constraint, and with the moves in order; None: not asked.
        tokens: prompt and completion tokens of all attempts; None where there is no annotation.
        failed: how many requests came to nothing, by the class of the error: papers without an
            annotation, and what was asked besides, of which invalid answers are not counted.
        pace: what they took.
        about: where it is served from, in its own words: for the report.
        repeated: None where it was not asked again.
    """

    valid: Sequence[bool]
    valid_freely: Sequence[bool] | None
    tokens: Sequence[tuple[int, int] | None]
    failed: Mapping[str, int] = field(default_factory=dict)
    pace: Pace = Pace()
    about: Mapping[str, Any] = field(default_factory=dict)
    repeated: Repeated | None = None


@dataclass(frozen=True, slots=True)
class Annotator:
    """One of those who are compared.

    Attributes:
        answers: None for a baseline.
    """

    name: str
    annotations: Sequence[Moves | None]
    answers: Answers | None = None


def lead(papers: Sequence[Paper], framework: Framework) -> Annotator:
    """The first move is the first sentence of the abstract, the second the second, and so on."""
    return Annotator(LEAD, [_lead(paper, framework) for paper in papers])


def other(annotations: Sequence[Moves | None]) -> Annotator:
    """To each paper the annotation of the one that is half the table away: neighbours in a table
    are often on one subject."""
    count = len(annotations)
    return Annotator(OTHER, [annotations[(i + count // 2) % count] for i in range(count)])


def _lead(paper: Paper, framework: Framework) -> Moves:
    sentences = [flatten(sentence) for sentence in split_sentences(paper.abstract)]
    texts = [sentence[: framework.max_chars] for sentence in sentences[: len(framework.names)]]
    missing = len(framework.names) - len(texts)
    return dict(zip(framework.names, [*texts, *[framework.not_stated] * missing], strict=True))
