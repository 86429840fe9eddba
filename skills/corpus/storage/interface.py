"""Define what the commands of /corpus read from a corpus, wherever it is stored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from skills.corpus.db.connection import open_corpus
from skills.corpus.db.reads import StoredPaper
from skills.corpus.records import Annotated, Failure
from skills.corpus.search.filters import Condition, Selected
from skills.corpus.search.fulltext import Found
from skills.corpus.search.query_syntax import Query
from skills.corpus.search.quotes import Quote
from skills.corpus.stats import Stats
from skills.corpus.storage.database import Database
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from skills.corpus.meaning.similar import Similar


class Storage(Protocol):
    """An open corpus, read by the framework with which it was opened.

    Annotations have ids of their own in each storage; those of two methods are the same.

    Attributes:
        has_vectors: it can search by meaning.
    """

    has_vectors: ClassVar[bool]

    def search(self, query: Query) -> Found:
        """Find moves by words (`fulltext.search`), or also by meaning (`hybrid.search`).

        Meaning requires `complete_vectors` before.
        """

    def complete_vectors(self, tick: Callable[[str], None], check: Callable[[], None]) -> None:
        """Add the vectors that are missing (`vectors.complete`).

        Raises:
            UsageError: the model is not installed.
        """

    def similar(self, wanted: str, move: str | None, limit: int) -> list[Similar]:
        """Return the papers that are nearest to one (`similar.papers`)."""

    def quotes(self, wording: str, limit: int) -> list[Quote]:
        """Return the passages with `wording`, by paper (`quotes.find`)."""

    def select(self, conditions: Sequence[Condition]) -> Selected:
        """Select the current annotations that meet all conditions."""

    def statistics(self) -> Stats:
        """Return the statistics of the whole corpus."""

    def find(self, wanted: str) -> list[StoredPaper]:
        """Return the papers with this source id, else the one with this number."""

    def current_ids(self) -> list[int]:
        """Return the ids of all current annotations, in the order of their papers."""

    def annotated(self, ids: Iterable[int]) -> Iterator[Annotated]:
        """Yield the annotations of these ids, in their order, with few of them in memory."""

    def failures(self) -> Iterator[Failure]:
        """Yield the newest failure of each paper that has no current annotation."""

    def id_column(self, ids: Sequence[int]) -> str:
        """Return the name of the ids of these annotations' papers, "id" if there are several."""

    def verify(self) -> tuple[int, list[dict[str, Any]]]:
        """Return how many annotations there are, and those that do not match their keys."""


@contextlib.contextmanager
def opened(
    path: Path, framework: Framework, notice: Callable[[str], None] = lambda text: None
) -> Iterator[Storage]:
    """Open an existing corpus for reading: a database, or a folder of parts with their index.

    Args:
        notice: called with what is left out.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    if not path.is_dir():
        with open_corpus(path, must_exist=True) as db:
            yield Database(db, framework)
        return
    from skills.corpus.parts import storage

    with storage.opened(path, framework) as parts:
        for text in parts.left_out():
            notice(text)
        yield parts
