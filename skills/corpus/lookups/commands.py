"""Run /corpus fetch, /corpus complete, and /corpus add of a list of ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound, SkillFailed, UsageError
from harness.support.process import job_lock
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.importer import Added
from skills.corpus.lookups import batches, fetching, lookup_results
from skills.corpus.lookups.batches import store
from skills.corpus.lookups.completing import DAYS, Completion, since_of
from skills.corpus.lookups.fetching import interleaved, merged
from skills.corpus.lookups.id_list import IdList
from skills.corpus.lookups.resolving import report, resolve
from skills.corpus.records import Found
from skills.corpus.search.query_syntax import parse_years
from skills.corpus.sources.services import SERVICES, named, opened, required, switched_on
from skills.corpus.sources.source import Query, Source

_USAGE = '/corpus fetch openalex "tools that plan" --max 50'


def complete(call: Call) -> Result:
    if text := call.text.strip():
        raise InputError(f"/corpus complete takes no text, but got {text[:40]!r}")
    options, path = call.options, database(call)
    names = required(options.source)
    with ExitStack() as stack:
        db = stack.enter_context(open_corpus(path, must_exist=True))
        stack.enter_context(job_lock(locks(path), "corpus complete"))
        sources = [opened(name, call) for name in names]
        if options.by_title:
            from skills.corpus.lookups.completing import ByTitle

            sources = [ByTitle(source) for source in sources]
        completion = Completion(call, db, sources, since_of(refresh=options.refresh))
        completion.most, completion.by_title = options.requests, options.by_title
        costs = completion.costs()
        data: dict[str, Any] = {"budget": [cost.as_json() for cost in costs]}
        if options.dry_run:
            return Result(batches.costs_shown(costs), {**completion.made.as_json(), **data})
        if not any(cost.requests for cost in costs):
            return Result(
                lookup_results.nothing_to_ask(DAYS), {**completion.made.as_json(), **data}
            )
        call.screen.notice(batches.costs_shown(costs))
        with call.cancel.on_signals():
            made = completion.run()
    for name, answers in made.answers.items():
        for error in answers.errors:
            call.screen.notice(f"{SERVICES[name].title}: {error}")
    failed = any(answers.errors for answers in made.answers.values())
    return Result(
        lookup_results.completed(made),
        {**made.as_json(), **data},
        exit_code=int(failed),
        stopped=made.stopped,
    )


def fetch(call: Call) -> Result:
    names, text = _sources_and_query(call)
    options = call.options
    years = None if options.year is None else parse_years(options.year)
    since, until = years.days if years else (None, None)
    fetching.refuse(call.targets)
    sources = [opened(name, call) for name in names]
    costs = [batches.cost_of_search(source, options.max) for source in sources]
    data: dict[str, Any] = {"query": text, "budget": [cost.as_json() for cost in costs]}
    if options.dry_run:
        none = {"found": 0, "new": 0, "known": 0, "papers": [], "errors": []}
        return Result(batches.costs_shown(costs), {**data, **none})
    call.screen.notice(batches.costs_shown(costs))
    found, errors = _searched(call, sources, Query(text, options.max, since, until))
    papers = merged(interleaved(found))[: options.max]
    if not papers:
        raise NothingFound(
            f"{' and '.join(SERVICES[name].title for name in names)} found no paper with an "
            f"abstract for {text[:60]!r}",
            hint="Try other words.",
        )
    data |= {"found": len(papers), "errors": errors}
    if call.targets:
        return Result(
            writers=fetching.writers(papers),
            records=lambda: map(fetching.row_of, papers),
            summary=data,
            exit_code=int(bool(errors)),
        )
    counts: Counter[str] = Counter()
    with open_corpus(database(call)) as db:
        for one in papers:
            row, new = store(db, one)
            counts["awaited" if row is None else "new" if new else "known"] += 1
    data |= {"new": counts["new"], "known": counts["known"]}
    data["papers"] = list(map(fetching.row_of, papers))
    return Result(lookup_results.fetched(papers, counts, text), data, exit_code=int(bool(errors)))


def add_ids(call: Call, ids: IdList) -> Result:
    """Add the papers of a list of ids to the corpus."""
    sources = switched_on(call.options.source)
    with open_corpus(database(call)) as db, call.cancel.on_signals():
        made = resolve(call, db, ids.ids, sources)
    report(call, ids.ids, made)
    ids.refused.report(call.screen)
    added = Added(
        papers=len(made.rows) - made.known,
        known_papers=made.known,
        repeated=ids.repeated,
        awaited=made.awaited,
        refused=ids.refused,
    )
    missing = {ids.ids[place].text: why for place, why in sorted(made.missing.items())}
    data = {"file": ids.file, "ids": len(ids.ids), "missing": missing, **added.as_json()}
    failed = bool(made.missing or ids.refused or made.errors)
    return Result(lookup_results.ids_added(data), data, exit_code=int(failed), stopped=made.stopped)


def _sources_and_query(call: Call) -> tuple[list[str], str]:
    first, _, rest = call.text.strip().partition(" ")
    query = rest.strip()
    if len(query) > 1 and query[0] == query[-1] == '"' and query.count('"') == 2:
        query = query[1:-1].strip()
    if not query:
        raise InputError("/corpus fetch needs a source and a query", hint=f"Usage: {_USAGE}")
    try:
        return named(first), query
    except ValueError as exc:
        raise UsageError(f"/corpus fetch: {exc}", hint=f"Usage: {_USAGE}") from exc


def _searched(
    call: Call, sources: Sequence[Source], query: Query
) -> tuple[list[list[Found]], list[str]]:
    """Return what each source finds, and the errors of those that fail.

    Raises:
        SkillFailed: all of them fail.
    """
    found: list[list[Found]] = []
    errors: list[SkillFailed] = []
    for source in sources:
        try:
            with call.screen.progress(f"searching {SERVICES[source.name].title}"):
                found.append(source.search(query))
        except SkillFailed as exc:
            errors.append(exc)
    if errors and not found:
        raise errors[0]
    for error in errors:
        call.screen.notice(str(error))
    return found, list(map(str, errors))
