"""Read the rows of a data set, whichever tool wrote it.

Each line is a JSON object in one of these forms; `/finetune dataset` writes the first:

    {"prompt": "...", "completion": "...", "system": "...", "id": ..., "source": ..., ...}
    {"prompt": [{"role": ..., "content": ...}, ...], "completion": [{"role": "assistant", ...}]}
    {"messages": [{"role": ..., "content": ...}, ..., {"role": "assistant", "content": ...}]}

Defaults: no system text, source gold, weight 1, and as id the start of the digest of the user's
message. Other keys are ignored.
"""

from __future__ import annotations

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

from harness.errors import InputError
from harness.support.text_input import place, regular_file, text_lines
from skills.corpus.table import paper_key
from skills.finetune.data.rows import Source
from skills.finetune.run.recipe import first_error
from skills.nanda.paper import abstract_digest, own_id

Messages = list[dict[str, str]]
_Text = Annotated[str, StringConstraints(pattern=r"\S")]


class _Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: _Text


def _as_messages(role: str) -> BeforeValidator:
    """Accept a text for a list with one message of `role`."""
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
        """Set `messages` to all messages, the system text first and the completion last."""
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
    """A row.

    Attributes:
        sha256: of the abstract, or of the user's message, on one line.
        messages: the input of the model, for a chat template.
        where: file and line.
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
        """The key that identifies the paper."""
        return paper_key(self.id)


def read_examples(path: Path) -> list[Example]:
    """Read all rows of a data set.

    Raises:
        InputError: a line has none of the forms, with its number; or there are no rows.
    """
    lines = list(text_lines(regular_file(path)))  # closes the file before a row is refused
    rows = [
        _example(line, place(path, "line", number))
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not rows:
        raise InputError(
            "has no rows", where=str(path), hint="`/finetune dataset ... save to FILE` writes some."
        )
    return rows


def _example(text: str, where: str) -> Example:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as exc:
        raise InputError(
            f"is not a row of a data set: {first_error(exc)}",
            where=where,
            hint="A row has prompt and completion, or messages that end with the assistant's.",
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
