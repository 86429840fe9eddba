"""Find the papers of a list of ids, in the corpus or at the enabled sources."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from harness.api.skill import Call, Result
from harness.errors import HarnessError, UsageError
from skills.corpus.db import papers
from skills.corpus.db.completion import Facts, stated_of
from skills.corpus.db.connection import database, open_corpus
from skills.corpus.db.merging import rows_with_identifiers
from skills.corpus.lookups import batches
from skills.corpus.lookups.id_list import Id, IdList
from skills.corpus.options import NAMES
from skills.corpus.outputs import Added
from skills.corpus.sources.services import VARIABLE, opened, switched_on
from skills.nanda.paper import Paper
from skills.nanda.text import counted
from skills.reporting.outputs import RefusedRow

if TYPE_CHECKING:
    from skills.corpus.sources.access import Source

ARXIV = "arxiv"
SHOWN = 20
"""Maximum number of ids without a paper that are printed; the result contains all these ids."""


def add_ids(call: Call, ids: IdList) -> Result:
    """Add the papers of a list of ids to the corpus, and return the result of /corpus add."""
    sources = switched_on(call.options.source)
    with open_corpus(database(call)) as db, call.cancel.on_signals():
        made = resolve(call, db, ids.ids, sources)
    report(call, ids.ids, made)
    ids.refused.report(call.screen)
    missing = {ids.ids[place].text: why for place, why in sorted(made.missing.items())}
    added = Added(
        file=ids.file,
        ids=len(ids.ids),
        missing=missing,
        papers=len(made.rows) - made.known,
        known_papers=made.known,
        repeated=ids.repeated,
        awaited=made.awaited,
        refused=[RefusedRow(**row) for row in ids.refused.as_json()],
    )
    lines = [
        f"Added {counted(added.papers, 'paper')} of {counted(len(ids.ids), 'id')}; "
        f"{made.known:,} {'was' if made.known == 1 else 'were'} in the corpus."
    ]
    if missing:
        lines.append(f"Without a paper: {counted(len(missing), 'id')}, each with a reason.")
    if ids.repeated:
        lines.append(f"Repeated: {counted(ids.repeated, 'id')}.")
    failed = bool(missing or ids.refused or made.errors)
    return Result("\n".join(lines), added.model_dump(), exit_code=int(failed), stopped=made.stopped)


@dataclass(slots=True)
class Resolved:
    """The papers that were found for a list of ids.

    Attributes:
        rows: the row id of the paper, by the index of the id in the list.
        known: number of ids whose papers the corpus already contained.
        missing: the reason why an id has no paper, by the index of the id.
        errors: the messages of failed requests.
        awaited: number of new papers without an abstract; `/corpus complete` may find the abstract.
        stopped: the error that ended the lookup early, or None.
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
    """Return the papers of ids; papers that the corpus lacks are looked up and added.

    An arXiv id is looked up at arXiv even if no source is enabled.

    Args:
        ids: the ids to find.
        sources: the names of the enabled sources.

    Raises:
        UsageError: an id that is not an arXiv id must be looked up, but no source is enabled.
    """
    made = Resolved()
    for place, one in enumerate(ids):
        if rows := rows_with_identifiers(db, one.identifiers):
            made.rows[place] = rows[0]
    made.known = len(made.rows)
    left = {place: one for place, one in enumerate(ids) if place not in made.rows}
    others = [one for one in left.values() if ARXIV not in one.identifiers]
    if others and not sources:
        raise UsageError(
            f"{others[0].text[:60]} is not in the corpus, and no source is switched on",
            hint=f"Name sources with --source or in {VARIABLE}: {','.join(NAMES)}.",
        )
    names = dict.fromkeys([*[ARXIV] * (len(others) < len(left)), *sources])
    _look_up(call, db, [opened(name, call) for name in names], left, made)
    return made


def _look_up(
    call: Call,
    db: sqlite3.Connection,
    sources: Sequence[Source],
    left: Mapping[int, Id],
    made: Resolved,
) -> None:
    """Look up ids at each source in turn; add the papers to the corpus, and the results to `made`.

    Args:
        left: the ids that the corpus lacks, by their index in the list.
    """
    tried: defaultdict[int, list[str]] = defaultdict(list)
    """The titles of the sources at which an id was looked up, by the index of the id."""

    def due(source: Source) -> list[batches.Wanted]:
        """Return the ids that have no paper yet and that the source can look up."""
        return [
            batches.Wanted(place, one.identifiers)
            for place, one in left.items()
            if place not in made.rows and batches.can_look_up(source, one.identifiers)
        ]

    def keep(title: str, wanted: batches.Wanted, found: Facts | None) -> None:
        tried[wanted.key].append(title)
        if found is None:
            return
        row, new = batches.store(db, found)
        if row is None:
            made.awaited += new
            reason = f"{title} has no abstract of it; /corpus complete may find one"
            made.missing.setdefault(wanted.key, reason)
        else:
            made.rows[wanted.key] = row
            made.missing.pop(wanted.key, None)

    if len(left) > 1:
        costs = [batches.cost_of_ids(source, due(source)) for source in sources]
        call.screen.notice(batches.costs_shown([cost for cost in costs if cost.requests]))
    for source in sources:
        if made.stopped is None and (wanted := due(source)):
            answers = batches.look_up(
                call, source, wanted, len(wanted), partial(keep, source.title)
            )
            made.errors += answers.errors
            made.stopped = answers.stopped
    for place in left:
        if place not in made.rows:
            titles = ", ".join(tried[place])
            reason = f"not known to {titles}" if titles else "not looked up"
            made.missing.setdefault(place, reason)


def report(call: Call, ids: Sequence[Id], made: Resolved) -> None:
    """Print the errors, the number of ids without a paper, and the first of these ids."""
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
    """Return the different papers that were found, in the order of the ids."""
    rows = list(dict.fromkeys(row for _, row in sorted(made.rows.items())))
    stated = stated_of(db, rows)
    found = (
        replace(papers.stored(db, row), source={"kind": "corpus", **stated.get(row, {})})
        for row in rows
    )
    return list({(paper.id_field, paper.id, paper.sha256): paper for paper in found}.values())
