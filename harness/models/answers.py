"""Checks of a model's answers to people."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import InvalidReply
from harness.models.backends.base import Reply

MAX_TOKENS = 1024


def check(answer: Reply, notify: Callable[[str], None]) -> None:
    """Report an answer that was cut off.

    Raises:
        InvalidReply: the answer is empty.
    """
    if answer.finish_reason == "length":
        notify(f"the answer was cut off at the limit of {MAX_TOKENS:,} tokens")
    if not answer.text.strip():
        raise InvalidReply("the model gave no answer", hint="Rephrase the text.", raw=answer.text)
