"""What all pages share: the corpus, the settings and the sessions of browsers."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.settings import Settings
from skills.corpus.db.connection import open_corpus
from skills.nanda.framework import Framework
from skills.serve.sessions import Sessions

CORPUS = Path("corpus")
"""Instead of a table: the annotations of the corpus."""


@dataclass(frozen=True, slots=True)
class ReviewOf:
    """What is reviewed, and where the decisions go.

    Attributes:
        table: annotations, or `CORPUS`.
        gold: the gold table.
        double: share of papers that two reviewers decide on, from now on; None leaves it.
        framework: the value of `--framework`, None for the built-in one.
        wrote: called with the SHA-256 of the gold table before it is put in place.
    """

    table: Path = CORPUS
    gold: Path = Path("gold.csv")
    double: float | None = None
    framework: Path | None = None
    wrote: Callable[[str], None] = lambda _: None

    @property
    def is_corpus(self) -> bool:
        return self.table == CORPUS


@dataclass(slots=True)
class State:
    """The state of one server. Endpoints run in threads, several at once.

    Attributes:
        framework: the moves that pages show.
        workspace: the folder whose evaluations and training runs are compared.
        title: of the corpus, on each page.
        is_closing: returns True once the server has to end; streams end then.
    """

    database: Path
    framework: Framework
    settings: Settings
    workspace: Path
    title: str
    sessions: Sessions = field(default_factory=Sessions)
    review: ReviewOf = ReviewOf()
    is_closing: Callable[[], bool] = lambda: False

    @contextlib.contextmanager
    def corpus(self) -> Iterator[sqlite3.Connection]:
        """Open the corpus for one request, in the thread of its endpoint."""
        with open_corpus(self.database, must_exist=True) as db:
            yield db
