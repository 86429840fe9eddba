"""Run the subcommands of /corpus."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from types import ModuleType
from typing import TYPE_CHECKING

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound, UsageError
from harness.runs.invocation import as_path
from harness.support.process import install_command
from harness.support.text_input import shown as shown_path
from harness.terminal.rendering import table
from skills.corpus import exporters, views
from skills.corpus import works as duplicates
from skills.corpus.corpus_store import Storage, opened
from skills.corpus.db import damage
from skills.corpus.db.connection import database, open_corpus
from skills.corpus.lookups import id_list
from skills.corpus.lookups.completing import complete
from skills.corpus.lookups.fetching import fetch
from skills.corpus.lookups.resolving import add_ids
from skills.corpus.map.map_command import draw_map
from skills.corpus.records import Annotated, Failure
from skills.corpus.references.reference_files import report_encoding
from skills.corpus.search import filters
from skills.corpus.search.query_syntax import By, Query, parse_years, unknown
from skills.nanda.framework import Framework
from skills.nanda.framework_option import selected_framework
from skills.nanda.text import counted
from skills.reporting.outputs import figures

if TYPE_CHECKING:
    from skills.corpus.corpus_store import Storage
    from skills.corpus.search.by_meaning import Similar


HITS = 20
SHOWN = 50
"""Papers that `filter` shows without --limit; it saves all."""
NEAREST = 10
"""Papers that `similar` shows without --limit."""
NAMED = 3
"""Moves that are named of a similar paper."""


def add(call: Call) -> Result:
    from skills.corpus import importer

    options, framework = call.options, _framework(call)
    path = as_path(_text(call, "/corpus add papers.csv"))
    if ids := id_list.read(path, limit=options.limit):
        return add_ids(call, ids)
    columns = options.table_columns()
    with open_corpus(database(call)) as db, call.screen.progress(f"adding {path.name}") as tick:
        notice = call.screen.notice
        added = importer.add(
            db, path, framework, columns, limit=options.limit, tick=tick, notice=notice
        )
    if added.lacks:
        call.screen.notice(f"no annotations were read: there is no column {', '.join(added.lacks)}")
    report_encoding(path, call.screen)
    added.refused.report(call.screen)
    file = shown_path(path)
    return Result(
        views.added(added, file),
        {"file": file, "ids": 0, "missing": {}, **added.as_json()},
        exit_code=1 if added.refused else 0,
    )


def search(call: Call) -> Result:
    options, framework = call.options, _framework(call)
    for move in options.move:
        if move not in framework.names:
            raise unknown("move", move, framework.names)
    text = _text(call, "/corpus search WORDS")
    years = None if options.year is None else parse_years(options.year)
    with _opened(call) as corpus:
        by = way(call, corpus)
        limit = options.limit or HITS
        query = Query(text, options.move, options.category, years, limit, by)
        found = corpus.search(query)
    if found.without_year:
        call.screen.notice(views.left_out(found.without_year, "year"))
    if not found.hits:
        raise nothing_found(by, text, _narrowed(call))
    ids = list(dict.fromkeys(hit.annotation_id for hit in found.hits))
    shown = Result(
        views.hits(found),
        {"hits": [hit.as_dict() for hit in found.hits]},
        terminal=lambda: _terminal_views().hits(found, framework),
    )
    return _saved_or(call, shown, ids, f"Search: {text}")


def quote(call: Call) -> Result:
    framework, wording = _framework(call), _text(call, '/corpus quote "TEXT"')
    limit = call.options.limit or HITS
    with _opened(call) as corpus:
        found = corpus.quotes(wording, limit + 1)
    if not found:
        raise NothingFound(
            f"no abstract or move contains the wording {wording[:60]}",
            hint="`/corpus search WORDS` finds words in any order and with other endings.",
        )
    shown = found[:limit]
    if len(found) > limit:
        call.screen.notice(f"the first {counted(limit, 'passage')} of more (--limit N)")
    return Result(
        views.passages(shown),
        {"passages": [one.as_dict() for one in shown]},
        terminal=lambda: _terminal_views().passages(shown, framework),
    )


def filter_papers(call: Call) -> Result:
    framework = _framework(call)
    conditions = filters.parse(call.text, framework)
    text = " ".join(call.text.split())
    with _opened(call) as corpus:
        selected = corpus.select(conditions)
        ids = selected.ids[: call.options.limit]
        shown = [] if call.targets else ids[: call.options.limit or SHOWN]
        items = list(corpus.annotated(shown))
    for column, count in selected.unknown.items():
        call.screen.notice(views.left_out(count, column))
    if not selected.ids:
        raise NothingFound(
            f"no annotation meets {text[:80]}", hint="`/corpus stats` shows what there is."
        )
    found = len(selected.ids)
    if not call.targets and found > len(shown):
        call.screen.notice(f"{found:,} papers; the first {len(shown):,} are shown (--limit N)")
    data = {"found": found, "papers": [item.record for item in items]}
    return _saved_or(call, Result(views.papers(items, framework), data), ids, f"Filter: {text}")


def statistics(call: Call) -> Result:
    _refuse_text(call)
    with _opened(call) as corpus:
        found = corpus.statistics()
    return Result(
        views.statistics(found),
        figures(found),
        terminal=lambda: _terminal_views().statistics(found),
    )


def show(call: Call) -> Result:
    wanted, framework = _text(call, "/corpus show ID"), _framework(call)
    with _opened(call) as corpus:
        found = corpus.find(wanted)
    if not found:
        raise NothingFound(
            f"the corpus has no paper {wanted[:60]}",
            hint="`/corpus search WORDS` and `/corpus filter` list the ids of papers.",
        )
    return Result(
        views.stored_papers(found),
        {"papers": list(map(views.stored_paper_json, found))},
        terminal=lambda: _terminal_views().stored_papers(found, framework),
    )


def export(call: Call) -> Result:
    _refuse_text(call)
    framework = _framework(call)
    with _opened(call) as corpus:
        ids = corpus.current_ids()
        failed = list(corpus.failures())
    if not ids and not failed:
        raise NothingFound(
            f"the corpus has no annotations by the framework {framework.name}",
            hint="`/annotate TABLE` creates them; `/corpus add TABLE` imports them.",
        )
    return _saved_or(call, Result(), ids, "Corpus", failed)


def verify(call: Call) -> Result:
    _refuse_text(call)
    with _opened(call) as corpus:
        checked, wrong = corpus.verify()
    data = {"checked": checked, "wrong": wrong}
    return Result(views.verified(checked, wrong), data, exit_code=1 if wrong else 0)


def set_aside(call: Call) -> Result:
    _refuse_text(call)
    path = database(call)
    kept, found = damage.set_aside(path)
    text = (
        f"{path} is damaged ({found}) and is now {kept}; the next command begins a new corpus.\n"
        f"`sqlite3 {kept} .recover` reads what is left of it."
    )
    return Result(text, {"database": str(path), "kept": str(kept), "damage": found})


def _saved_or(
    call: Call,
    shown: Result,
    ids: Sequence[int],
    title: str,
    failed: Sequence[Failure] = (),
) -> Result:
    """Return `shown`, or the writers of these annotations if there are targets."""
    if not call.targets:
        return shown
    framework, path = _framework(call), database(call)

    def items() -> Iterator[Annotated]:
        with opened(path, framework) as corpus:
            yield from corpus.annotated(ids)

    with opened(path, framework) as corpus:
        id_column = corpus.id_column(ids)
    summary = {"papers": len(ids), "corpus": str(path)}
    writers = exporters.writers(framework, id_column, items, lambda: iter(failed), title=title)
    return Result(
        writers=writers,
        records=lambda: (item.record for item in items()),
        summary=summary,
        folders=exporters.folders(call, framework, id_column, items),
    )


def _terminal_views() -> ModuleType:
    """Import what only a terminal needs."""
    from skills.corpus import terminal_views

    return terminal_views


def _framework(call: Call) -> Framework:
    return selected_framework(call.options.framework, call.frameworks)


def _opened(call: Call) -> AbstractContextManager[Storage]:
    return opened(database(call), _framework(call), call.screen.notice)


def _text(call: Call, usage: str) -> str:
    text = call.text.strip()
    if not text:
        raise InputError(f"/corpus {call.subcommand} needs an argument", hint=f"Usage: {usage}")
    return text


def _refuse_text(call: Call) -> None:
    if text := call.text.strip():
        raise InputError(f"/corpus {call.subcommand} takes no text, but got {text[:40]!r}")


def _narrowed(call: Call) -> str:
    options = call.options
    parts = [
        f"in {' or '.join(options.move)}" if options.move else "",
        f"of {options.year}" if options.year else "",
        f"with the category {' or '.join(options.category)}" if options.category else "",
    ]
    return "".join(f" {part}" for part in parts if part)


def way(call: Call, corpus: Storage) -> By:
    """Return how to search: by `--like` or `--words`, else by both if that is possible.

    The vectors that are missing are added first.

    Raises:
        UsageError: `--like` without the extra.
        InputError: `--like` for a folder of parts.
    """
    options = call.options
    if options.like and options.words:
        raise UsageError("--like and --words exclude each other")
    if options.words or not (options.like or corpus.has_vectors):
        return "words"
    if not options.like and importlib.util.find_spec("wordllama") is None:
        call.screen.notice(
            f"searched by words alone: `{install_command('meaning')}` adds search by meaning "
            "(--words omits this notice)"
        )
        return "words"
    _complete(call, corpus)
    return "meaning" if options.like else "both"


def nothing_found(by: By, query: str, narrowed: str) -> NothingFound:
    """Return the error for a search without hits.

    Args:
        narrowed: the conditions of the search in words, after a blank.
    """
    has_phrase = '"' in query
    what = "contains"
    if by == "meaning":
        what = "is near to"
        hint = "Without --like, moves with some of the words are found, too."
    elif by == "words":
        adjacent = "words in double quotes must be adjacent; " if has_phrase else ""
        hint = f"All words must be in one move ({adjacent}endings do not matter)."
    elif has_phrase:
        hint = (
            "Words in double quotes must be adjacent in each hit; without the quotes, moves with "
            "some of the words, or near in meaning, are found, too."
        )
    else:
        hint = "No move is near to it in meaning, either; try other words."
    return NothingFound(f"no move {what} {query[:60]}{narrowed}", hint=hint)


def similar(call: Call) -> Result:
    """Return the papers that are nearest to one."""
    wanted, framework = _text(call, "/corpus similar ID"), _framework(call)
    moves = call.options.move
    for move in moves:
        if move not in framework.names:
            raise unknown("move", move, framework.names)
    if len(moves) > 1:
        raise UsageError(
            "/corpus similar takes one --move", hint="Without it, all moves are compared."
        )
    with _opened(call) as corpus:
        _complete(call, corpus)
        found = corpus.similar(wanted, moves[0] if moves else None, call.options.limit or NEAREST)
    if not found:
        raise NothingFound("no other paper of the corpus has an annotation that is near")
    rows = [(one.id, one.year, one.title, _near(one), one.text) for one in found]
    shown = table(("paper", "year", "title", "near by", "text"), rows)
    return Result(shown, {"papers": [one.as_dict() for one in found]})


def _near(one: Similar) -> str:
    """Return the nearest moves of a paper, with their similarity."""
    named = list(one.near.items())[:NAMED]
    return ", ".join(f"{move} {similarity:.2f}" for move, similarity in named)


def _complete(call: Call, corpus: Storage) -> None:
    if not corpus.has_vectors:
        raise InputError(
            "a folder of parts has no vectors to search by meaning",
            where=str(call.options.db),
            hint="`/corpus add FOLDER --db corpus.db` copies it to a database, which has.",
        )
    with call.screen.progress("preparing the vectors of moves") as tick:
        corpus.complete_vectors(tick, call.cancel.check)


def index(call: Call) -> Result:
    """Index a folder of parts, so that `--db FOLDER` can read it."""
    from skills.corpus.parquet_store.building import build

    text = call.text.strip()
    if not text:
        usage = "Usage: /corpus index FOLDER"
        raise InputError("/corpus index needs an argument", hint=usage)
    folder = as_path(text)
    if not folder.is_dir():
        raise InputError(
            "is not a folder of parts",
            where=str(folder),
            hint="Only a folder of .parquet files needs an index; a database has its own.",
        )
    with call.screen.progress(f"indexing {folder.name}") as tick:
        built = build(
            folder,
            selected_framework(call.options.framework, call.frameworks),
            tick,
            call.cancel.check,
        )
    for name, reason in built.refused.items():
        call.screen.notice(f"{name} is left out: it {reason}")
    return Result(
        views.indexed(built.parts, built.rows, built.added, folder),
        {"folder": str(folder), **asdict(built)},
        exit_code=1 if built.refused else 0,
    )


def zotero_push(call: Call) -> Result:
    from skills.corpus.zotero_notes.zotero_push import push

    return push(call)


def zotero_undo(call: Call) -> Result:
    from skills.corpus.zotero_notes.zotero_push import undo

    return undo(call)


COMMANDS: Mapping[str, Callable[[Call], Result]] = {
    "add": add,
    "fetch": fetch,
    "complete": complete,
    "index": index,
    "search": search,
    "similar": similar,
    "quote": quote,
    "filter": filter_papers,
    "stats": statistics,
    "show": show,
    "export": export,
    "page": export,
    "map": draw_map,
    "verify": verify,
    "duplicates": duplicates.report,
    "split": duplicates.split,
    "set-aside": set_aside,
    "zotero-push": zotero_push,
    "zotero-undo": zotero_undo,
}
