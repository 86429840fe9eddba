"""What the subcommands of /corpus do: each takes the call and hands back its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound
from harness.runs.grammar import as_path
from skills.corpus import exporters, views
from skills.corpus import stats as statistics
from skills.corpus.db import reads
from skills.corpus.db.connection import default_path, open_corpus
from skills.corpus.db.verify import verify_all
from skills.corpus.records import Annotated, Failure
from skills.corpus.search import filters, fulltext
from skills.corpus.search.query_syntax import parse_years, unknown
from skills.corpus.tables.columns import Columns
from skills.nanda.framework import Framework
from skills.nanda.framework_option import chosen

if TYPE_CHECKING:
    from sqlite_utils import Database

HITS = 20
SHOWN = 50
"""Papers that `filter` shows unless --limit says otherwise; it saves all."""


def add(call: Call) -> Result:
    from skills.corpus import importer

    options, framework = call.options, _framework(call)
    if not call.text.strip():
        raise InputError("there is no file to add", hint="/corpus add papers.csv")
    path = as_path(call.text.strip())
    columns = Columns(options.abstract_column, options.id_column, options.title_column)
    with open_corpus(_database(call)) as db, call.screen.progress(f"adding {path.name}") as tick:
        added = importer.add(db, path, framework, columns, limit=options.limit, tick=tick)
    if added.lacks:
        call.screen.notice(f"no annotations were read: there is no column {', '.join(added.lacks)}")
    return Result(views.added(added, path), {"file": str(path), **dataclasses.asdict(added)})


def search_moves(call: Call) -> Result:
    options, framework = call.options, _framework(call)
    for move in options.move:
        if move not in framework.names:
            raise unknown("move", move, framework.names)
    if not call.text.strip():
        raise InputError("there is nothing to look for", hint="/corpus search WORDS")
    narrowing = fulltext.Narrowing(
        options.move,
        options.category,
        None if options.year is None else parse_years(options.year),
    )
    with _opened(call) as db:
        found = fulltext.search(db, call.text, framework, narrowing, limit=options.limit or HITS)
    _say_unknown(call, found.without_year, "year")
    if found.hits and not found.ranked:
        call.screen.notice(
            f"more than {fulltext.COMMON:,} moves hold each word; these are the newest that match"
        )
    if found.capped:
        call.screen.notice(
            f"more than {fulltext.RANKED:,} moves match; these are the best of the newest"
        )
    if not found.hits:
        phrase = "words in double quotes must stand together; " if '"' in call.text else ""
        raise NothingFound(
            f"no move holds {call.text.strip()[:60]}" + _narrowed(call),
            hint=f"All words must stand in one move ({phrase}endings do not matter).",
        )
    ids = list(dict.fromkeys(hit.annotation_id for hit in found.hits))
    return _saved_or(
        call,
        Result(views.hits(found), {"hits": [hit.as_dict() for hit in found.hits]}),
        ids,
        f"Search: {call.text.strip()}",
    )


def filter_papers(call: Call) -> Result:
    framework = _framework(call)
    conditions = filters.parse(call.text, framework)
    with _opened(call) as db:
        selected = filters.select(db, conditions, framework)
        ids = selected.ids[: call.options.limit]
        shown = [] if call.targets else ids[: call.options.limit or SHOWN]
        items = list(reads.annotated(db, framework, shown))
    for column, count in selected.unknown.items():
        _say_unknown(call, count, column)
    if not selected.ids:
        raise NothingFound(
            f"no annotation meets {' '.join(call.text.split())[:80]}",
            hint="`/corpus stats` tells what there is.",
        )
    found = len(selected.ids)
    if not call.targets and found > len(shown):
        call.screen.notice(f"{found:,} papers; the first {len(shown):,} are shown (--limit N)")
    return _saved_or(
        call,
        Result(
            views.papers(items, framework),
            {"found": found, "papers": [item.record for item in items]},
        ),
        ids,
        f"Filter: {' '.join(call.text.split())}",
    )


def stats(call: Call) -> Result:
    _take_no_text(call)
    framework = _framework(call)
    with _opened(call) as db:
        counted = statistics.of_corpus(db, framework)
    return Result(views.statistics(counted), counted.as_dict())


def show(call: Call) -> Result:
    asked = call.text.strip()
    if not asked:
        raise InputError("there is no id", hint="/corpus show ID")
    with _opened(call) as db:
        kept = reads.find(db, asked)
    if not kept:
        raise NothingFound(
            f"the corpus has no paper {asked[:60]}",
            hint="`/corpus search WORDS` and `/corpus filter` list the ids of papers.",
        )
    return Result(views.kept(kept), {"papers": [views.kept_as_dict(paper) for paper in kept]})


def export(call: Call) -> Result:
    _take_no_text(call)
    framework = _framework(call)
    with _opened(call) as db:
        ids = reads.current_ids(db, framework)
        failed = [*reads.failures(db)]
    if not ids and not failed:
        raise NothingFound(
            f"the corpus has no annotations by the framework {framework.name}",
            hint="`/annotate TABLE` makes them; `/corpus add TABLE` takes them in.",
        )
    return _saved_or(call, Result(), ids, "Corpus", failed)


def verify(call: Call) -> Result:
    _take_no_text(call)
    with _opened(call) as db:
        checked, wrong = verify_all(db)
    data = {"checked": checked, "wrong": [dataclasses.asdict(one) for one in wrong]}
    return Result(views.verified(checked, wrong), data, exit_code=1 if wrong else 0)


COMMANDS: Mapping[str, Callable[[Call], Result]] = {
    "add": add,
    "search": search_moves,
    "filter": filter_papers,
    "stats": stats,
    "show": show,
    "export": export,
    "page": export,
    "verify": verify,
}


def _saved_or(
    call: Call,
    shown: Result,
    ids: Sequence[int],
    title: str,
    failed: Sequence[Failure] = (),
) -> Result:
    """`shown`, or where there are targets what writes these annotations to them."""
    if not call.targets:
        return shown
    framework, path = _framework(call), _database(call)

    def items() -> Iterator[Annotated]:
        with open_corpus(path, must_exist=True) as db:
            yield from reads.annotated(db, framework, ids)

    with _opened(call) as db:
        id_column = reads.id_column(db, ids)
    summary = {"papers": len(ids), "corpus": str(path)}
    writers = exporters.writers(framework, id_column, items, lambda: iter(failed), title=title)
    return Result(
        writers=writers, records=lambda: (item.record for item in items()), summary=summary
    )


def _framework(call: Call) -> Framework:
    return chosen(call.options.framework, call.frameworks)


def _database(call: Call) -> Path:
    return call.options.db or default_path(call.settings)


def _opened(call: Call) -> AbstractContextManager[Database]:
    return open_corpus(_database(call), must_exist=True)


def _take_no_text(call: Call) -> None:
    if call.text.strip():
        raise InputError(
            f"/corpus {call.subcommand} takes no text, but found {call.text.strip()[:40]!r}"
        )


def _say_unknown(call: Call, count: int, what: str) -> None:
    if count:
        papers = "1 paper that matches is" if count == 1 else f"{count:,} papers that match are"
        call.screen.notice(f"{papers} left out, since the {what} is not known")


def _narrowed(call: Call) -> str:
    options = call.options
    parts = [
        f"in {' or '.join(options.move)}" if options.move else "",
        f"of {options.year}" if options.year else "",
        f"with the category {' or '.join(options.category)}" if options.category else "",
    ]
    return "".join(f" {part}" for part in parts if part)
