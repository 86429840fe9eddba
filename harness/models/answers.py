"""Length and validity of free-text answers."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import InvalidReply
from harness.models.backends.base import Reply

MAX_TOKENS = 1024


def check(answer: Reply, notify: Callable[[str], None]) -> None:
    """Print a notice if an answer is cut.

    Raises:
        InvalidReply: it is empty.
    """
    if answer.finish_reason == "length":
        notify(f"the answer is cut at the limit of {MAX_TOKENS:,} tokens")
    if not answer.text.strip():
        raise InvalidReply("the model gave no answer", hint="Rephrase the text.", raw=answer.text)
