"""Find the papers of a list of ids: in the corpus, else at the sources that are switched on."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from harness.api.skill import Call
from harness.errors import HarnessError, UsageError
from skills.corpus.db import merging, papers
from skills.corpus.db.completion import stated_of
from skills.corpus.lookups import batches
from skills.corpus.lookups.batches import Wanted, look_up, store
from skills.corpus.lookups.id_list import Id
from skills.corpus.records import Found
from skills.corpus.sources.services import NAMES, SERVICES, VARIABLE, opened
from skills.corpus.sources.source import Source
from skills.nanda.paper import Paper
from skills.nanda.text import counted

ARXIV = "arxiv"
SHOWN = 20
"""Ids without a paper that are named; all are in the result."""


@dataclass(slots=True)
class Resolved:
    """The papers of a list of ids.

    Attributes:
        rows: those that were found, by their place in the list.
        known: how many of them the corpus had.
        missing: why an id has no paper, by its place.
        awaited: how many were kept, since their abstract may be found later.
        errors: of requests that failed.
        stopped: why not all were looked up.
    """

    rows: dict[int, int] = field(default_factory=dict)
    known: int = 0
    missing: dict[int, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    awaited: int = 0
    stopped: HarnessError | None = None


def resolve(
    call: Call, db: sqlite3.Connection, ids: Sequence[Id], sources: Sequence[str]
) -> Resolved:
    """Find the papers of ids, and store those that the corpus lacks.

    Ids of arXiv are looked up there, whichever sources are switched on: the id names it.

    Raises:
        UsageError: an id needs a source, and none is switched on.
    """
    made = Resolved()
    for place, one in enumerate(ids):
        if row := _in_corpus(db, one):
            made.rows[place] = row
    made.known = len(made.rows)
    left = {place: one for place, one in enumerate(ids) if place not in made.rows}
    _refuse_without_source(list(left.values()), sources)
    tried: dict[int, list[str]] = {place: [] for place in left}
    names = dict.fromkeys([*[ARXIV] * any(map(_is_arxiv, left.values())), *sources])
    open_sources = [opened(name, call) for name in names]
    costs = [batches.cost_of_ids(source, _due(source, made, left)) for source in open_sources]
    if len(left) > 1:
        call.screen.notice(batches.costs_shown([cost for cost in costs if cost.requests]))
    for source in open_sources:
        if made.stopped is None:
            _look_up(call, db, made, left, source, tried)
    for place in left:
        if place not in made.rows and place not in made.missing:
            titles = ", ".join(SERVICES[name].title for name in tried[place])
            reason = f"not known to {titles}" if titles else "not looked up"
            made.missing[place] = reason
    return made


def report(call: Call, ids: Sequence[Id], made: Resolved) -> None:
    """Print how many ids have no paper, and the first of them, each with its reason."""
    for error in made.errors:
        call.screen.notice(error)
    missing = sorted(made.missing.items())
    if missing:
        call.screen.notice(f"{counted(len(missing), 'id')} without a paper to annotate:")
    for place, reason in missing[:SHOWN]:
        call.screen.notice(f"  {ids[place].text[:80]}: {reason}")
    if len(missing) > SHOWN:
        call.screen.notice(f"  and {len(missing) - SHOWN:,} more (--json names all)")


def papers_of(db: sqlite3.Connection, made: Resolved) -> list[Paper]:
    """Return the papers that were found, each once, in the order of their ids."""
    rows = list(dict.fromkeys(row for _, row in sorted(made.rows.items())))
    stated = stated_of(db, rows)
    found = (
        replace(papers.stored(db, row), source={"kind": "corpus", **stated.get(row, {})})
        for row in rows
    )
    return list({(paper.id_field, paper.id, paper.sha256): paper for paper in found}.values())


def _in_corpus(db: sqlite3.Connection, one: Id) -> int | None:
    rows = merging.with_identifiers(db, one.identifiers)
    return rows[0] if rows else None


def _is_arxiv(one: Id) -> bool:
    return ARXIV in one.identifiers


def _refuse_without_source(ids: Sequence[Id], sources: Sequence[str]) -> None:
    others = [one for one in ids if not _is_arxiv(one)]
    if others and not sources:
        raise UsageError(
            f"{others[0].text[:60]} is not in the corpus, and no source is switched on",
            hint=f"Name some with --source, or in {VARIABLE}: {','.join(NAMES)}.",
        )


def _look_up(
    call: Call,
    db: sqlite3.Connection,
    made: Resolved,
    left: dict[int, Id],
    source: Source,
    tried: dict[int, list[str]],
) -> None:
    """Look up at one source the ids that have no paper yet."""
    due = _due(source, made, left)
    if not due:
        return
    with call.screen.progress(f"looking up at {SERVICES[source.name].title}") as tick:
        answers = look_up(
            source,
            due,
            partial(_keep, db, made, tried, source.name),
            call.cancel,
            tick=lambda done: tick(f"{done:,} of {len(due):,} papers"),
        )
    made.errors += answers.errors
    made.stopped = answers.stopped


def _due(source: Source, made: Resolved, left: Mapping[int, Id]) -> list[Wanted]:
    """Return the ids without a paper that can be looked up at a source."""
    kinds = set(source.kinds)
    return [
        Wanted(place, one.identifiers)
        for place, one in left.items()
        if place not in made.rows and not kinds.isdisjoint(one.identifiers)
    ]


def _keep(
    db: sqlite3.Connection,
    made: Resolved,
    tried: dict[int, list[str]],
    name: str,
    wanted: Wanted,
    found: Found | None,
) -> None:
    tried[wanted.key].append(name)
    if found is None:
        return
    row, new = store(db, found)
    if row is None:
        made.awaited += new
        made.missing.setdefault(
            wanted.key,
            f"{SERVICES[found.source].title} has no abstract of it; /corpus complete may find one",
        )
        return
    made.rows[wanted.key] = row
    made.missing.pop(wanted.key, None)
