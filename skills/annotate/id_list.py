"""/annotate ids.txt and /annotate DOI: papers in the corpus or at the enabled sources."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from harness.api.skill import Call, Result
from harness.errors import NothingFound
from skills.annotate.plan import Source, id_column, is_long_enough
from skills.annotate.table import annotate_source, result_of
from skills.corpus.db.connection import database, open_corpus
from skills.corpus.lookups.id_list import Id, IdList
from skills.corpus.lookups.resolving import Resolved, papers_of, report, resolve
from skills.corpus.sources.services import switched_on
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper


def annotate_ids(call: Call, ids: IdList, framework: Framework) -> Result:
    """Annotate the papers of a list of ids. Ids without an abstract are reported and counted."""
    made, papers = _look_up(call, ids.ids)
    report(call, ids.ids, made)
    ids.refused.report(call.screen)
    if made.stopped is not None:
        raise made.stopped
    usable = [paper for paper in papers if is_long_enough(paper)]
    if not usable:
        raise NothingFound(
            "no id of the list has a paper that can be annotated",
            where=ids.file,
            hint="Other sources may have the abstracts: see --source.",
        )
    filtered = {
        "no paper": len(made.missing),
        "repeats an earlier id": ids.repeated + len(made.rows) - len(papers),
        "too short": len(papers) - len(usable),
        "refused": len(ids.refused),
    }
    source = Source(
        ids.file,
        usable,
        id_column(usable),
        Counter({reason: count for reason, count in filtered.items() if count}),
        ids.refused,
    )
    result = result_of(call, annotate_source(call, source, framework))
    missing = {ids.ids[place].text: why for place, why in sorted(made.missing.items())}
    summary = {**(result.summary or {}), "missing": missing}
    return replace(result, summary=summary, exit_code=result.exit_code or int(bool(missing)))


def look_up(call: Call, one: Id) -> Paper:
    """Return the paper with an id.

    Raises:
        NothingFound: no enabled source has the paper with an abstract.
        UsageError: the paper is not in the corpus, and no source is enabled.
    """
    made, papers = _look_up(call, [one])
    if made.stopped is not None:
        raise made.stopped
    for error in made.errors:
        call.screen.notice(error)
    if not papers:
        raise NothingFound(
            f"there is no paper {one.text[:60]} to annotate: {made.missing[0]}",
            hint="Is the id right? Other sources may have it: see --source.",
        )
    return papers[0]


def _look_up(call: Call, ids: list[Id]) -> tuple[Resolved, list[Paper]]:
    sources = switched_on(call.options.source)
    with open_corpus(database(call)) as db, call.cancel.on_signals():
        made = resolve(call, db, ids, sources)
        return made, papers_of(db, made)
