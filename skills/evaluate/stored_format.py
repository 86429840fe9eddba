"""The parts of a saved evaluation that are read again, and reading them from a file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import InputError
from harness.support.reading.bounded_files import read_text
from harness.support.reading.text_input import reading, regular_file, shown
from skills.evaluate.variations import Kind

MAX_BYTES = 200_000_000
"""Maximum size of a file that is read: about 50,000 papers of one model."""
HINT = "`/evaluate ... save to FILE.json` writes one."


class Paper(BaseModel):
    id: str
    abstract: str
    gold: str


class Answer(BaseModel):
    moves: dict[str, str] | None
    anchors: dict[str, Any] | None = None
    confidence: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    valid: bool
    valid_freely: bool | None = None
    tokens: tuple[int, int] | None
    again: dict[Kind, list[dict[str, str] | None]] | None = None


class Figure(BaseModel):
    value: float | None
    low: float | None
    high: float | None
    papers: int
    why: str


class Speed(BaseModel):
    papers_per_minute: float | None
    papers: int
    memory: int | None


class Facts(BaseModel):
    """What a report shows of a model besides its figures."""

    model: str
    served: str
    form: str
    digests: dict[str, str]
    slots: int
    answered_by: dict[str, Any] = {}
    failed: dict[str, int]
    speed: Speed


class Listed(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    kind: str
    metrics: dict[str, dict[str, Figure]]
    by_paper: list[Answer] | None = None
    score_by_paper: list[float] | None = None


class File(BaseModel):
    papers: int
    framework: dict[str, Any]
    gold: dict[str, dict[str, Figure]] | None
    annotators: list[Listed] = Field(min_length=1)
    by_paper: list[Paper] | None = None
    score: str = ""


def load(path: Path) -> File:
    """Read a saved evaluation.

    Raises:
        InputError: it cannot be read, or is not an evaluation.
    """
    with reading(path):
        text = read_text(regular_file(path, what="an evaluation"), MAX_BYTES)
    with validating(shown(path)):
        return File.model_validate(json.loads(text))


@contextlib.contextmanager
def validating(where: str) -> Iterator[None]:
    """Translate the errors of reading a file's content."""
    try:
        yield
    except ValidationError as exc:
        error = exc.errors()[0]
        at = ".".join(map(str, error["loc"]))[:60]
        raise InputError(
            f"is not an evaluation ({at}: {error['msg']})", where=where, hint=HINT
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise InputError("is not JSON", where=where, hint=HINT) from exc
