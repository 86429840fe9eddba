"""Read, check and split the rows of a data set.

Each line is a JSON object in one of these forms; `/finetune dataset` writes the first form:

    {"prompt": "...", "completion": "...", "system": "...", "id": ..., "source": ..., ...}
    {"prompt": [{"role": ..., "content": ...}, ...], "completion": [{"role": "assistant", ...}]}
    {"messages": [{"role": ..., "content": ...}, ..., {"role": "assistant", "content": ...}]}

By default, a row has the source gold, the weight 1 and no system text. The default id is the
beginning of the digest of the user's message. Other keys are ignored.

The dev rows come from a separate file, or are the gold rows for which a hash of id and seed is
below a limit. So a dev row remains a dev row if other rows are added or removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from harness.errors import InputError, first_error
from harness.support.text_input import place, regular_file, text_lines
from skills.corpus.table import paper_key
from skills.finetune.dataset.dataset_options import Source
from skills.finetune.recipe import Recipe
from skills.nanda.forms import Form, UnusableReply
from skills.nanda.framework import Framework
from skills.nanda.generated_forms import CLOSE_TAG, TaggedForm
from skills.nanda.paper import abstract_digest, own_id

Messages = list[dict[str, str]]
_Text = Annotated[str, StringConstraints(pattern=r"\S")]


class _Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: _Text


def _as_messages(role: str) -> BeforeValidator:
    """Return a validator that turns a text into a list with one message of `role`."""
    return BeforeValidator(
        lambda value: [{"role": role, "content": value}] if isinstance(value, str) else value
    )


class _Line(BaseModel):
    """A line of a data set."""

    prompt: Annotated[list[_Message] | None, _as_messages("user")] = None
    completion: Annotated[list[_Message] | None, _as_messages("assistant")] = None
    system: _Text | None = None
    messages: list[_Message] | None = None
    id: str | int | float | None = None
    source: Source | None = None
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    sha256: str | None = None

    @model_validator(mode="after")
    def _join(self) -> Self:
        """Join system, prompt and completion into `messages`, unless the line has `messages`.

        Return the line itself, as pydantic requires.

        Raises:
            ValueError: prompt or completion is missing, or the last two messages are not of the
                user and the assistant.
        """
        if self.messages is None:
            if not self.prompt or not self.completion:
                raise ValueError("it needs prompt and completion, or messages")
            before = [_Message(role="system", content=self.system)] if self.system else []
            self.messages = [*before, *self.prompt, *self.completion]
        if [message.role for message in self.messages[-2:]] != ["user", "assistant"]:
            raise ValueError("it does not end with messages of the user and the assistant")
        return self


@dataclass(frozen=True, slots=True)
class Example:
    """A row of a data set.

    Attributes:
        sha256: the value of `sha256` in the line, or else the `abstract_digest` of the user's
            message.
        messages: the messages before the completion, for a chat template.
        where: the file and the line of the row.
    """

    id: str
    source: Source
    weight: float
    sha256: str
    messages: Messages
    completion: str
    where: str

    @property
    def key(self) -> str:
        """The id in the form that is compared with other ids."""
        return paper_key(self.id)


def read_examples(path: Path) -> list[Example]:
    """Return all rows of a data set, in the order of the file.

    Raises:
        InputError: a line does not have one of the forms, or the file has no rows.
    """
    lines = list(text_lines(regular_file(path)))  # close the file before an error is raised
    rows = [
        _example(line, place(path, "line", number))
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not rows:
        raise InputError(
            "has no rows",
            where=str(path),
            hint="`/finetune dataset ... save to FILE` writes a data set.",
        )
    return rows


def _example(text: str, where: str) -> Example:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as exc:
        raise InputError(
            f"is not a row of a data set: {first_error(exc)}",
            where=where,
            hint="A row has prompt and completion, or messages that end with the assistant's "
            "answer.",
        ) from exc
    *messages, completion = line.messages or []
    prompt = messages[-1].content
    return Example(
        own_id(prompt) if line.id in (None, "") else str(line.id),
        line.source or "gold",
        line.weight,
        line.sha256 or abstract_digest(prompt),
        [message.model_dump() for message in messages],
        completion.content,
        where,
    )


@dataclass(frozen=True, slots=True)
class Split:
    """The training rows and the dev rows, in the order of their files; they share no paper.

    Attributes:
        kept_out: rows that are excluded from training because a dev row has the same paper.
    """

    train: list[Example]
    dev: list[Example]
    kept_out: list[Example]


def read_split(data: Path, dev: Path | None, recipe: Recipe) -> Split:
    """Return the rows of a run, split into training rows and dev rows.

    Raises:
        InputError: a file or a row is invalid; also as for `split`.
    """
    rows, dev_rows = read_examples(data), read_examples(dev) if dev else None
    return split(rows, dev_rows, recipe.dev_share, recipe.training.seed)


def split(rows: Sequence[Example], dev: Sequence[Example] | None, share: float, seed: int) -> Split:
    """Return rows split into training rows and dev rows.

    A row whose id or abstract belongs to a dev row is not a training row.

    Args:
        dev: rows of a separate file; None to use `share` of the gold rows.
        share: the share of the gold rows that become dev rows, from 0 to below 1; approximate for
            small data sets.

    Raises:
        InputError: a dev row is not a gold row, or no row is left to train on.
    """
    if dev is None:
        dev = [row for row in rows if row.source == "gold" and _draw(row.key, seed) < share]
        rest = [row for row in rows if row.source != "gold" or _draw(row.key, seed) >= share]
    else:
        rest = list(rows)
    for row in dev:
        if row.source != "gold":
            raise InputError(
                f"is a dev row of the source {row.source}",
                where=row.where,
                hint="Dev rows must be gold: written or accepted by a person.",
            )
    # The search is repeated, since further rows may share the id or abstract of a row in `found`.
    known = {name for row in dev for name in (row.key, row.sha256)}
    train, kept_out = rest, list[Example]()
    while found := [row for row in train if row.key in known or row.sha256 in known]:
        train = [row for row in train if row.key not in known and row.sha256 not in known]
        kept_out += found
        known.update(name for row in found for name in (row.key, row.sha256))
    if not train:
        raise InputError(
            f"no row is left to train on (dev rows: {len(dev)}, rows with papers of dev rows: "
            f"{len(kept_out)})",
            hint="Give more rows, a smaller dev_share, or another --dev.",
        )
    return Split(train, list(dev), kept_out)


def _draw(key: str, seed: int) -> float:
    """Return a pseudo-random number, 0 <= x < 1, that depends only on the arguments."""
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def check_answers(rows: Sequence[Example]) -> None:
    """Raise InputError if a completion does not end with the tag at which generation stops."""
    for row in rows:
        if not row.completion.rstrip().endswith(CLOSE_TAG):
            raise InputError(
                f"its completion does not end with {CLOSE_TAG}, at which generation stops",
                where=row.where,
                hint="`/finetune dataset` writes completions as `/annotate` reads them.",
            )


def refusal_of(completion: str, form: Form) -> str:
    """Return why `/annotate` would reject a completion, or "" for an accepted completion."""
    try:
        form.framework.valid_moves(form.parse(completion))
    except UnusableReply as exc:
        return str(exc)
    except InputError as exc:
        return exc.message
    return ""


def table_rows(rows: Sequence[Example], framework: Framework) -> Iterator[dict[str, str]]:
    """Yield the annotated papers as rows of a table for `/evaluate`: id, abstract, moves.

    Completions that `/annotate` would not accept are left out.
    """
    form = TaggedForm(framework)
    for row in rows:
        if not refusal_of(row.completion, form):
            moves = framework.valid_moves(form.parse(row.completion))
            yield {"paper_id": row.id, "abstract": row.messages[-1]["content"], **moves}
