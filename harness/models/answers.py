"""The answers of a model to people: how long they may be, and whether they are any."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import InvalidReply
from harness.models.backends.base import Reply

MAX_TOKENS = 1024


def check(answer: Reply, notify: Callable[[str], None]) -> None:
    """Say of an answer that it is cut.

    Raises:
        InvalidReply: it says nothing.
    """
    if answer.finish_reason == "length":
        notify(f"the answer is cut at {MAX_TOKENS:,} tokens, the most it may have")
    if not answer.text.strip():
        raise InvalidReply("the model gave no answer", hint="Ask in other words.", raw=answer.text)
