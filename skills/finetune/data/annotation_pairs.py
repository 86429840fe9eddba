"""What a model is trained to read and to write: what `/annotate` sends and reads in tagged form.

Both are made by `reply_formats.TaggedForm`, so that training and use cannot drift apart. The
texts stand without a chat template: that is the base model's, and is put around them by whoever
trains, as the engine puts it around them in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import InputError
from harness.models.backends.base import Message
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper
from skills.nanda.reply_formats import TaggedForm
from skills.nanda.sanitize import sanitize


def format_annotation_prompt(abstract: str, framework: Framework | None = None) -> str:
    """What the user says: the abstract on one line, its special tokens and tags broken."""
    return _messages(abstract, framework)[-1].content


def format_annotation_system(framework: Framework | None = None) -> str:
    """What stands before it as the system's message; the same for every abstract."""
    return _messages("", framework)[0].content


def format_annotation_output(moves: Mapping[str, Any], framework: Framework | None = None) -> str:
    """The completion: `<annotation>`, a line for each move, `</annotation>`; no end token.

    Special tokens and tags within a move are broken as they are in the prompt, for a trainer's
    tokenizer would take "<|im_end|>" in one for the end of the answer. Every other move is what
    `TaggedForm.parse` reads back.

    Args:
        moves: the moves by name; other keys, such as the columns of a table, are not looked at.

    Raises:
        InputError: a move is missing, empty, too long, or cannot stand on one line of it.
    """
    framework = framework or nanda()
    return completion_of(framework.valid_moves(moves), framework)


def completion_of(valid: Mapping[str, str], framework: Framework) -> str:
    """Return the completion of moves that are valid already.

    Raises:
        InputError: a move cannot stand on one line of it.
    """
    try:
        return TaggedForm(framework).completion({name: sanitize(valid[name]) for name in valid})
    except ValueError as exc:
        raise InputError(str(exc)) from exc


def chat_messages(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages of a row of the data set, for a chat template: what `/annotate` would send."""
    return [
        {"role": "system", "content": row["system"]},
        {"role": "user", "content": row["prompt"]},
    ]


def _messages(abstract: str, framework: Framework | None) -> tuple[Message, ...]:
    return TaggedForm(framework or nanda()).messages(Paper("id", "", "", abstract))
