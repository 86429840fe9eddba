"""Papers, and annotations that are there already, from a file into the corpus: no model is asked.

A file that was saved here (.jsonl, .parquet) says where its annotations come from, and they keep
that with their key. Others are marked as imported. The whole file is read once before anything is
written, so that a row at fault leaves the corpus as it was.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness._version import __version__
from harness.errors import InputError
from harness.support.text_input import shown
from skills.corpus.content_key import IMPORT, key_of, verify
from skills.corpus.db import papers as paper_rows
from skills.corpus.db import store
from skills.corpus.db.connection import transaction
from skills.corpus.records import Annotated
from skills.corpus.tables.annotated_reader import Entry, entries
from skills.corpus.tables.reader import Columns
from skills.nanda.framework import Framework, sha256_of

if TYPE_CHECKING:
    from sqlite_utils import Database

BATCH = 500
"""Rows in one transaction: a commit costs as much as some rows do."""
_PROVENANCE = (
    *("requested", "resolved", "reason", "backend", "where", "digests", "form", "framework"),
    *("prompt_sha256", "schema_sha256", "sampling", "attempts", "tokens", "seconds", "harness"),
    *("created", "input", "key"),
)


@dataclass(slots=True)
class Added:
    """What came of an import.

    Attributes:
        papers, annotations: new ones.
        known_papers, known_annotations: those that were there already, left as they were.
        without_moves: rows that bring a paper alone.
        empty, repeated: rows without an abstract, or with the id and abstract of an earlier one.
        renamed: annotations whose provenance does not agree with them, or with their abstract; they
            count as imported, and where they come from is not known.
        lacks: the moves without a column, where others have one; no annotation is read then.
    """

    papers: int = 0
    annotations: int = 0
    known_papers: int = 0
    known_annotations: int = 0
    without_moves: int = 0
    empty: int = 0
    repeated: int = 0
    renamed: int = 0
    lacks: tuple[str, ...] = ()


def add(
    db: Database,
    path: Path,
    framework: Framework,
    columns: Columns | None = None,
    *,
    limit: int | None = None,
    tick: Callable[[str], None] = lambda status: None,
) -> Added:
    """Import a table of papers; where it has a column for each move, with their annotations.

    Args:
        limit: rows at most.
        tick: told how far it is.

    Raises:
        InputError: the file or one of its rows cannot be used, naming row and column; or no row
            has an abstract. Nothing has been written then.
    """

    def read() -> Iterator[Entry]:
        return itertools.islice(entries(db, path, framework, columns or Columns()), limit)

    added, rows, papers = Added(), 0, 0
    for rows, entry in enumerate(read(), start=1):
        if 0 < len(entry.lacks) < len(framework.names):
            added.lacks = entry.lacks
        if entry.paper.abstract and not entry.repeat:
            papers += 1
            _check(entry, framework)
        if rows % BATCH == 0:
            tick(f"{rows:,} rows read")
    if not papers:
        raise InputError(
            "no row of it has an abstract" if rows else "has no rows below its header",
            where=shown(path),
        )
    waiting = read()
    for done in range(0, rows, BATCH):
        # Their checks take longest, and nobody should wait for the lock meanwhile.
        batch = [_prepared(db, entry, framework) for entry in itertools.islice(waiting, BATCH)]
        with transaction(db):
            for prepared in batch:
                _add(db, prepared, framework, added)
        tick(f"{min(done + BATCH, rows):,} of {rows:,} rows")
    return added


def annotated(entry: Entry, framework: Framework) -> Annotated | None:
    """The stored form of a row's annotation, as it would be imported; None where it has none.

    Raises:
        InputError: a move of it is no move, naming row and column.
    """
    moves = _moves(entry, framework)
    if moves is None:
        return None
    own = _own_provenance(entry, moves)
    return _annotated(entry, moves, own or _import_provenance(entry, moves, framework), framework)


def _check(entry: Entry, framework: Framework) -> None:
    """Refuse a row whose annotation cannot be kept.

    Raises:
        InputError: a move of it is no move, or it was made with another framework.
    """
    _moves(entry, framework)
    made_with = (entry.provenance or {}).get("framework")
    name = made_with.get("name") if isinstance(made_with, dict) else None
    if isinstance(name, str) and name != framework.name:
        raise InputError(
            f"was made with the framework {name}, and not {framework.name}",
            where=entry.where,
            hint="--framework FILE names the one it was made with.",
        )


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A row as it is written.

    Attributes:
        key: of its annotation; None where it has none.
        item: that annotation; None where the corpus had it already.
        renamed: what it said of where it comes from is not believed.
    """

    entry: Entry
    key: str | None = None
    item: Annotated | None = None
    renamed: bool = False


def _prepared(db: Database, entry: Entry, framework: Framework) -> _Prepared:
    moves = _moves(entry, framework)
    if moves is None or not entry.paper.abstract or entry.repeat:
        return _Prepared(entry)
    own = _own_provenance(entry, moves)
    provenance = own or _import_provenance(entry, moves, framework)
    renamed = own is None and entry.provenance is not None
    key, paper_id = provenance["key"], paper_rows.known(db, entry.paper)
    if paper_id is not None and store.has(db, key, paper_id):
        return _Prepared(entry, key, None, renamed)
    return _Prepared(entry, key, _annotated(entry, moves, provenance, framework), renamed)


def _add(db: Database, prepared: _Prepared, framework: Framework, added: Added) -> None:
    paper = prepared.entry.paper
    if not paper.abstract:
        added.empty += 1
        return
    if prepared.entry.repeat:
        added.repeated += 1
        return
    is_known = paper_rows.known(db, paper) is not None
    added.known_papers += is_known
    added.papers += not is_known
    paper_id = paper_rows.keep(db, paper)
    if prepared.key is None:
        added.without_moves += 1
        return
    added.renamed += prepared.renamed
    # Asked again under the lock: another process may have brought it meanwhile.
    if prepared.item is None or store.has(db, prepared.key, paper_id):
        added.known_annotations += 1
        return
    added.annotations += 1
    store.save(db, prepared.item, framework, unless_newer=True)


def _moves(entry: Entry, framework: Framework) -> dict[str, str] | None:
    """The moves of a row as they are stored; None if it has none.

    Raises:
        InputError: one of them is empty or too long while others are not, naming its column.
    """
    if entry.moves is None or not any(text.strip() for text in entry.moves.values()):
        return None
    try:
        annotation = framework.annotation_model().model_validate(entry.moves)
    except ValidationError as exc:
        error = exc.errors()[0]
        move = error["loc"][0]
        long = f"is longer than {framework.max_chars} characters"
        wrong = {"string_too_short": "is empty", "string_too_long": long}
        raise InputError(
            f"the move {wrong.get(error['type'], error['msg'])}",
            where=f"{entry.where}, column {move}",
            hint=f'A move that the abstract does not state is "{framework.not_stated}"; a row '
            "without any move is a paper alone.",
        ) from exc
    stored = annotation.model_dump()
    return {name: stored[name] for name in framework.names}


def _annotated(
    entry: Entry, moves: dict[str, str], provenance: Mapping[str, Any], framework: Framework
) -> Annotated:
    from skills.nanda.checks import check

    paper = entry.paper
    return Annotated(
        paper,
        {
            paper.id_field: paper.id,
            "title": paper.title,
            **moves,
            "checks": check(paper.abstract, framework.stated(moves)),
            "provenance": dict(provenance),
        },
    )


def _own_provenance(entry: Entry, moves: Mapping[str, str]) -> Mapping[str, Any] | None:
    """The provenance that the row brings, if it is whole and agrees with the rest of it."""
    provenance = entry.provenance
    if provenance is None or not all(name in provenance for name in _PROVENANCE):
        return None
    try:
        wrong = verify({**moves, "provenance": provenance}, entry.paper.abstract)
    except (KeyError, TypeError, ValueError, AttributeError):  # of another form in some part
        return None
    texts = (provenance["resolved"], provenance["created"])
    return None if wrong or not all(isinstance(text, str) for text in texts) else provenance


def _import_provenance(
    entry: Entry, moves: Mapping[str, str], framework: Framework
) -> dict[str, Any]:
    """The provenance of an annotation of which nothing is known but the file it came in.

    moves_sha256 stands for what made it: other moves are another annotation.
    """
    paper = entry.paper
    provenance: dict[str, Any] = {
        "requested": IMPORT,
        "resolved": IMPORT,
        "reason": None,
        "backend": IMPORT,
        "where": Path(paper.source.get("path", "")).name,
        "digests": {},
        "form": "json",
        "framework": {
            "name": framework.name,
            "version": framework.version,
            "digest": framework.digest,
        },
        "prompt_sha256": None,
        "schema_sha256": None,
        "moves_sha256": sha256_of(dict(moves)),
        "sampling": {},
        "attempts": 0,
        "tokens": {"prompt": 0, "cached": 0, "completion": 0},
        "seconds": 0.0,
        "harness": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": {**paper.source, "sha256": paper.sha256},
    }
    return {**provenance, "key": key_of(provenance)}
