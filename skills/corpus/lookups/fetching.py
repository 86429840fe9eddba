"""Implement /corpus fetch, which searches sources and combines their results.

The papers are added to the corpus, or saved in a table or a file of references.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from harness.api.skill import Call, Result, Write
from harness.errors import InputError, NothingFound, SkillFailed, UsageError
from harness.support.text_input import unquote
from harness.terminal.rendering import table
from skills.corpus.db.completion import Facts
from skills.corpus.db.connection import database, open_corpus
from skills.corpus.identity.identifiers import KINDS, known
from skills.corpus.identity.matching import pairs
from skills.corpus.lookups.batches import cost_of_search, costs_shown, store
from skills.corpus.options import SAVED_REFERENCES, named
from skills.corpus.outputs import Fetched, FetchedToFile
from skills.corpus.references import reference_files
from skills.corpus.references.csl_json import item_of
from skills.corpus.search.query_syntax import parse_years
from skills.corpus.sources.services import SERVICES, SourceQuery, opened
from skills.corpus.tables.saved_tables import write_csv
from skills.nanda.paper import Paper
from skills.nanda.text import counted

if TYPE_CHECKING:
    from skills.corpus.sources.access import Source

SUFFIXES = (".jsonl", ".csv", *SAVED_REFERENCES)
_USAGE = '/corpus fetch openalex "tools that plan" --max 50'

T = TypeVar("T")


def fetch(call: Call) -> Result:
    names, text = _sources_and_query(call)
    options = call.options
    years = None if options.year is None else parse_years(options.year)
    since, until = years.days if years else (None, None)
    for target in call.targets:
        if not target.name.lower().endswith(SUFFIXES):
            raise UsageError(
                "the papers of a search have no annotations, which this format requires",
                where=str(target),
                hint=f"Save the papers as {', '.join(SUFFIXES)}; /annotate reads these files.",
            )
    sources = [opened(name, call) for name in names]
    costs = [cost_of_search(source, options.max) for source in sources]
    budget = list(map(asdict, costs))
    if options.dry_run:
        made = Fetched(query=text, found=0, errors=[], budget=budget, new=0, known=0, papers=[])
        return Result(costs_shown(costs), made.model_dump())
    call.screen.notice(costs_shown(costs))
    found, errors = _search(call, sources, SourceQuery(text, options.max, since, until))
    papers = merged(interleaved(found))[: options.max]
    if not papers:
        raise NothingFound(
            f"{' and '.join(SERVICES[name].title for name in names)} found no paper with an "
            f"abstract for {text[:60]!r}",
            hint="Use other words in the query.",
        )
    in_file = FetchedToFile(query=text, found=len(papers), errors=errors, budget=budget)
    if call.targets:
        return Result(
            writers=_writers(papers, raw=options.raw),
            records=lambda: map(_row, papers),
            summary=in_file.model_dump(),
            exit_code=int(bool(errors)),
        )
    counts: Counter[str] = Counter()
    with open_corpus(database(call)) as db:
        for one in papers:
            row, new = store(db, one)
            counts["awaited" if row is None else "new" if new else "known"] += 1
    made = Fetched(
        **in_file.model_dump(),
        new=counts["new"],
        known=counts["known"],
        papers=list(map(_row, papers)),
    )
    rows = [
        (one.paper.id, one.paper.year, "" if one.cited is None else one.cited, one.title)
        for one in papers
    ]
    shown = (
        f"{table(('paper', 'year', 'cited', 'title'), rows)}\n\n"
        f"Added {counted(made.new, 'paper')} to the corpus; {made.known:,} were in it. "
        f"`/annotate {text} --source corpus` annotates them."
    )
    return Result(shown, made.model_dump(), exit_code=int(bool(errors)))


def merged(found: Sequence[Facts]) -> list[Facts]:
    """Return one record for each paper, in the order of the first records of the papers.

    The first record of a paper takes precedence; facts that the first record lacks are taken from
    the later records. A paper is retracted if any of its records states a retraction. A preprint
    and its published version are one paper.
    """
    made: dict[int, Facts] = {}
    for first, paper in zip(firsts([one.paper for one in found]), found, strict=True):
        made[first] = _with(made[first], paper) if first in made else paper
    return list(made.values())


def firsts(papers: Sequence[Paper]) -> list[int]:
    """Return, for each record, the index of the first record of the same paper."""
    first = list(range(len(papers)))

    def root(place: int) -> int:
        while first[place] != place:
            place = first[place]
        return place

    for one, other, _ in pairs(map(known, papers)):
        roots = root(one), root(other)
        first[max(roots)] = min(roots)
    return [root(place) for place in range(len(papers))]


def interleaved(lists: Sequence[Sequence[T]]) -> list[T]:
    """Return the items of several lists in turn: the first items, then the second items, ..."""
    return [one for row in itertools.zip_longest(*lists) for one in row if one is not None]


def _with(one: Facts, other: Facts) -> Facts:
    """Return a copy of `one`, in which the missing facts are filled with the facts of `other`."""
    texts = ("title", "abstract", "authors", "published", "venue", "categories", "notice")
    more = {name: getattr(other, name) for name in texts if not getattr(one, name)}
    if one.cited is None:
        more["cited"] = other.cited
    if other.retracted and not one.retracted:
        more["retracted"] = True
    ids = {**other.identifiers, **one.identifiers}
    return replace(one, **more, identifiers={kind: ids[kind] for kind in KINDS if kind in ids})


def _sources_and_query(call: Call) -> tuple[list[str], str]:
    first, _, rest = call.text.strip().partition(" ")
    query = unquote(rest.strip())
    if not query:
        raise InputError("/corpus fetch needs a source and a query", hint=f"Usage: {_USAGE}")
    try:
        return named(first), query
    except ValueError as exc:
        raise UsageError(f"/corpus fetch: {exc}", hint=f"Usage: {_USAGE}") from exc


def _search(
    call: Call, sources: Sequence[Source], query: SourceQuery
) -> tuple[list[list[Facts]], list[str]]:
    """Search at each source; print the errors, and return the results and the error messages.

    A source that fails has no list of results.

    Raises:
        SkillFailed: all sources fail. The error of the first source is raised.
    """
    found: list[list[Facts]] = []
    errors: list[SkillFailed] = []
    for source in sources:
        try:
            with call.screen.progress(f"searching {source.title}"):
                found.append(source.search(query))
        except SkillFailed as exc:
            errors.append(exc)
    if errors and not found:
        raise errors[0]
    for error in errors:
        call.screen.notice(str(error))
    return found, list(map(str, errors))


def _row(found: Facts) -> dict[str, Any]:
    """Return a paper as a row of a table, by column name."""
    paper = found.paper
    return {
        paper.id_field: paper.id,
        "title": paper.title,
        "authors": paper.authors,
        "published": paper.published,
        "venue": found.venue,
        "categories": paper.categories,
        "doi": found.identifiers.get("doi", ""),
        "pmid": found.identifiers.get("pmid", ""),
        "cited": found.cited,
        "retracted": found.retracted,
        "source": found.source,
        "abstract": paper.abstract,
    }


def _writers(papers: Sequence[Facts], *, raw: bool) -> dict[str, Write]:
    """Return the functions that write the papers to a file, by the suffix of the file.

    Args:
        raw: True to keep formulas in a .csv file; otherwise, spreadsheets show formulas as text.
    """
    rows = list(map(_row, papers))

    def write_jsonl(file: IO[bytes]) -> None:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def write_table(file: IO[bytes]) -> None:
        _, *names = rows[0]  # the id columns of all sources become the column "id"
        texts = (["" if value is None else str(value) for value in row.values()] for row in rows)
        write_csv(file, [["id", *names], *texts], raw=raw)

    def write_references(suffix: str, file: IO[bytes]) -> None:
        items = ((item_of(one.paper, {}), "") for one in papers)
        reference_files.format_of(Path(suffix)).write(items, file)

    references = {suffix: partial(write_references, suffix) for suffix in SAVED_REFERENCES}
    return {".jsonl": write_jsonl, ".csv": write_table, **references}
