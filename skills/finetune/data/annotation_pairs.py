"""Training prompts and completions: what `/annotate` sends and parses in the form of tuned models.

Both are written by the form itself (`TaggedForm`), so that training and use cannot diverge. The
texts contain no chat template: the stage `prepare` adds that of the base, as the engine does in
use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import InputError
from harness.models.backend import Message
from skills.nanda.forms import TaggedForm
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper
from skills.nanda.text import sanitize


def format_annotation_prompt(abstract: str, framework: Framework | None = None) -> str:
    """Return the user message: the abstract on one line, special tokens and tags broken up."""
    return _messages(abstract, framework)[-1].content


def format_annotation_system(framework: Framework | None = None) -> str:
    """Return the system message, which is the same for every abstract."""
    return _messages("", framework)[0].content


def format_annotation_output(moves: Mapping[str, Any], framework: Framework | None = None) -> str:
    """Return the completion: `<annotation>`, a line per move, `</annotation>`; no end token.

    Special tokens and tags in a move are broken up as in the prompt, since a tokenizer would take
    "<|im_end|>" for the end of the answer. `TaggedForm.parse` returns all other moves unchanged.

    Args:
        moves: the moves by name; other keys, such as the columns of a table, are ignored.

    Raises:
        InputError: a move is missing, empty, too long, or cannot be written on one line.
    """
    framework = framework or nanda()
    return completion_of(framework.valid_moves(moves), framework)


def completion_of(valid: Mapping[str, str], framework: Framework) -> str:
    """Return the completion of moves that are valid already.

    Raises:
        InputError: a move cannot be written on one line.
    """
    try:
        return TaggedForm(framework).completion({name: sanitize(valid[name]) for name in valid})
    except ValueError as exc:
        raise InputError(str(exc)) from exc


def chat_messages(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the messages of a row of the data set, for a chat template, as `/annotate` sends."""
    return [
        {"role": "system", "content": row["system"]},
        {"role": "user", "content": row["prompt"]},
    ]


def _messages(abstract: str, framework: Framework | None) -> tuple[Message, ...]:
    return TaggedForm(framework or nanda()).messages(Paper("id", "", "", abstract))
