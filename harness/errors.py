"""Exception classes, with the exit code of `agent.py` for each class.

    HarnessError                     1
    ├── UsageError                   2   the line, an option or the input is wrong
    │   ├── UnknownSkill                 there is no skill of that name
    │   ├── InputError                   missing, empty, unreadable or unsuitable input
    │   ├── RegistryError                a registry of models cannot be used
    │   ├── NotTrusted                   the user has not trusted the content of a plugin
    │   └── NotAllowed                   the user has not allowed an action
    ├── SkillFailed                  1   the skill ran and has no result
    │   ├── InvalidReply                 the model's answer is invalid
    │   ├── NothingFound                 the search has no results
    │   ├── SourceUnavailable            a service for looking up papers cannot answer
    │   └── GenerationFailed             the model stopped in mid-answer       (retryable)
    │       ├── DeadlineExceeded         the generation exceeded its time limit
    │       └── LoopingReply             the model repeats the same text
    ├── ModelError                   3
    │   ├── ModelUnavailable             a model cannot be loaded or reached; its fallback may serve
    │   ├── ModelChanged                 the server replaced the model by another during the run
    │   ├── ModelBusy                    the server's queue is full             (retryable)
    │   ├── ClusterUnavailable           the cluster cannot be reached or used: no model can serve
    │   └── ChecksumMismatch             a model file differs from the checksum in the registry
    ├── OutputError                  4   a file, or stdout, was not written
    ├── InternalError                1   a fault of the harness itself
    ├── ReaderGone                   0   the reader of stdout has closed the pipe (`| head`)
    └── Interrupted                130   Ctrl-C, or a cancelled generation

Code that handles errors checks their type, never their text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from harness.redaction import redact

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST = 10_000
"""Maximum number of characters of a message that is shown or stored."""
LONGEST_FIELD = 60
"""Maximum number of characters of the path of a field in a message."""


class HarnessError(Exception):
    """An error with an optional location and hint; secrets in the texts are redacted.

    Args:
        message: what happened, in one clause without a full stop.
        where: location, such as file and line, row and column, or URL.
        hint: advice for the user, as a sentence.
    """

    exit_code = 1
    retryable = False
    reply = ""
    """The text that the model answered before the error, or ""."""

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        message = redact(message)
        if len(message) > LONGEST:  # a message may quote a long argument
            message = f"{message[:LONGEST]}..."
        super().__init__(message)
        self.message = message
        self.where = where and redact(where)
        self.hint = hint and redact(hint)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}. {self.hint}" if self.hint else text


class UsageError(HarnessError):
    exit_code = 2


class UnknownSkill(UsageError):
    """Raised if there is no skill with the requested name."""


class InputError(UsageError):
    """Raised if an input is missing, empty, unreadable or unsuitable."""


class RegistryError(UsageError):
    """Raised if a registry of models cannot be used."""


class NotTrusted(UsageError):
    """Raised if the user has not trusted the present content of a plugin."""


class NotAllowed(UsageError):
    """Raised if the user has not allowed an action."""


class SkillFailed(HarnessError):
    """Raised if a skill ran and has no result."""


class InvalidReply(SkillFailed):
    """Raised if the model's answer is invalid. `raw` is the model's last answer."""

    def __init__(
        self, message: str, *, raw: str = "", where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.raw = self.reply = raw


class NothingFound(SkillFailed):
    """Raised if a search has no results."""


class SourceUnavailable(SkillFailed):
    """Raised if a service for looking up papers cannot answer."""


class GenerationFailed(SkillFailed):
    """Raised if the model's answer ended early. `partial` is the received part of the answer."""

    retryable = True

    def __init__(
        self, message: str, *, partial: str = "", where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.partial = self.reply = partial


class DeadlineExceeded(GenerationFailed):
    retryable = False  # a retry would take the same time


class LoopingReply(GenerationFailed):
    retryable = False  # a retry would loop again


class ModelError(HarnessError):
    exit_code = 3


class ModelUnavailable(ModelError):
    """Raised if a model cannot be loaded or reached; its fallback may serve."""


class ModelChanged(ModelError):
    """Raised if the server replaced the model by another model during the run."""


class ModelBusy(ModelError):
    """Raised if a server is busy. `wait` is the server's Retry-After in seconds; 0 if unknown."""

    retryable = True

    def __init__(
        self, message: str, *, wait: float = 0.0, where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.wait = wait


class ClusterUnavailable(ModelError):
    """Raised if the Ray cluster cannot be reached or used, so that no model can serve."""


class ChecksumMismatch(ModelError):
    """Raised if the SHA-256 of a model file differs from the registry."""


class OutputError(HarnessError):
    exit_code = 4


class InternalError(HarnessError):
    """Raised for a fault of the harness. The frontend prints the traceback of `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(
            f"internal error: {type(cause).__name__}: {cause}",
            hint="Please report this error with the traceback.",
        )
        self.__cause__ = cause


class ReaderGone(HarnessError):
    exit_code = 0


class Interrupted(HarnessError):
    exit_code = 130


def first_error(exc: ValidationError, *within: object) -> str:
    """Return the first error of a validation, such as "training.epochs: Input should be ...".

    Args:
        within: keys that lead to the validated object in its file. In the result, these keys
            precede the field.
    """
    error = exc.errors()[0]
    field = ".".join(map(str, (*within, *error["loc"])))[:LONGEST_FIELD]
    message = error["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def did_you_mean(
    name: str,
    known: Iterable[str],
    shown: Callable[[str], str] = str,
    *,
    most: int = 3,
    cutoff: float = 0.6,
) -> str:
    """Return a question such as "Did you mean a or b?", or "" if no known name is similar.

    Args:
        shown: returns the text that represents a known name in the question.
        most: maximum number of suggested names.
        cutoff: minimum similarity, from 0 to 1.
    """
    import difflib

    near = difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff)
    return f"Did you mean {' or '.join(map(shown, near))}?" if near else ""
