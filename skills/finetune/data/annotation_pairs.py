"""Training prompts and completions: what `/annotate` sends and parses in a form of tuned models.

Both are written by the form itself (`TaggedForm`, `AnchoredForm`), so that training and use cannot
diverge. The texts contain no chat template: the stage `prepare` adds that of the base, as the
engine does in use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Literal

from harness.errors import InputError
from harness.models.backends.base import Message
from skills.nanda.forms.anchored import AnchoredForm
from skills.nanda.forms.base import UnusableReply
from skills.nanda.forms.tagged import TaggedForm
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper
from skills.nanda.sanitize import sanitize

FormName = Literal["tagged", "anchored"]
FORMS: Mapping[FormName, type[TaggedForm] | type[AnchoredForm]] = {
    "tagged": TaggedForm,
    "anchored": AnchoredForm,
}


def form_of(completion: str, framework: Framework) -> TaggedForm | AnchoredForm | None:
    """Return the form that a completion has, or None if it is not an annotation."""
    for form in (made(framework) for made in FORMS.values()):
        with contextlib.suppress(UnusableReply):
            form.parse(completion)
            return form
    return None


def format_annotation_prompt(
    abstract: str, framework: Framework | None = None, form: FormName = "tagged"
) -> str:
    """Return the user message: the abstract on one line, special tokens and tags broken up.

    In the anchored form, each sentence is on a line with its number.
    """
    return _messages(abstract, framework, form)[-1].content


def format_annotation_system(framework: Framework | None = None, form: FormName = "tagged") -> str:
    """Return the system message, which is the same for every abstract."""
    return _messages("", framework, form)[0].content


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


def completion_of(
    valid: Mapping[str, str], framework: Framework, form: FormName = "tagged", abstract: str = ""
) -> str:
    """Return the completion of moves that are valid already.

    Args:
        abstract: what the anchored form quotes instead of the moves.

    Raises:
        InputError: a move cannot be written on one line.
    """
    if form == "anchored":
        return AnchoredForm(framework).completion(valid, abstract)
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


def _messages(abstract: str, framework: Framework | None, form: FormName) -> tuple[Message, ...]:
    return FORMS[form](framework or nanda()).messages(Paper("id", "", "", abstract))
