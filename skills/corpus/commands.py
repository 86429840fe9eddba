"""Implement the subcommands of /corpus."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound, UsageError
from harness.runs.invocation import as_path
from harness.support.process import install_command
from harness.support.text_input import shown
from skills.corpus import exporters, importer, views
from skills.corpus.corpus_store import opened, selected
from skills.corpus.db import damage, merging, reads
from skills.corpus.db.connection import database, open_corpus, transaction
from skills.corpus.exports import dataset
from skills.corpus.lookups import id_list
from skills.corpus.lookups.completing import complete
from skills.corpus.lookups.fetching import fetch
from skills.corpus.lookups.resolving import add_ids
from skills.corpus.map.map_command import draw_map
from skills.corpus.outputs import Pairs, PapersDetails, Passages, SetAside, SimilarPapers
from skills.corpus.parquet_store.building import build
from skills.corpus.records import Annotated, Failure
from skills.corpus.search import filters
from skills.corpus.search.engine import Engine
from skills.corpus.search.query_syntax import By, Query, check_moves, parse_years
from skills.corpus.table import report_encoding
from skills.corpus.tables.refusals import Refusals
from skills.nanda.framework import Framework, selected_framework
from skills.nanda.text import counted, set_of

HITS = 20
"""Maximum number of moves or passages that `search` and `quote` return without --limit."""
SHOWN = 50
"""Maximum number of papers that `filter` shows without --limit; `save to` saves all papers."""
NEAREST = 10
"""Maximum number of papers that `similar` shows without --limit."""


def add(call: Call) -> Result:
    options, framework = call.options, _framework(call)
    path = as_path(_text(call, "/corpus add papers.csv"))
    if ids := id_list.read(path, limit=options.limit):
        return add_ids(call, ids)
    refusals = Refusals()
    with open_corpus(database(call)) as db, call.screen.progress(f"adding {path.name}") as tick:
        added = importer.add(
            db,
            path,
            framework,
            options.table_columns(),
            refusals=refusals,
            limit=options.limit,
            tick=tick,
            notice=call.screen.notice,
        )
    added.file = shown(path)
    if added.lacks:
        call.screen.notice(
            f"no annotations were imported, since there is no column {', '.join(added.lacks)}"
        )
    report_encoding(path, call.screen)
    refusals.report(call.screen)
    return Result(
        views.added(added, len(refusals)), added.model_dump(), exit_code=1 if refusals else 0
    )


def index(call: Call) -> Result:
    """Index a folder of parts, so that commands with `--db FOLDER` can read the parts."""
    folder = as_path(_text(call, "/corpus index FOLDER"))
    if not folder.is_dir():
        raise InputError(
            "is not a folder of parts",
            where=str(folder),
            hint="Only a folder of .parquet files needs an index; a database has its own index.",
        )
    with call.screen.progress(f"indexing {folder.name}") as tick:
        built = build(folder, _framework(call), tick, call.cancel.check)
    for name, reason in built.refused.items():
        call.screen.notice(f"{name} is left out: it {reason}")
    return Result(views.indexed(built), built.model_dump(), exit_code=1 if built.refused else 0)


def search(call: Call) -> Result:
    options, framework = call.options, _framework(call)
    check_moves(options.move, framework)
    text = _text(call, "/corpus search WORDS")
    years = None if options.year is None else parse_years(options.year)
    with _opened(call) as corpus:
        by = _way(call, corpus)
        limit = options.limit or HITS
        found = corpus.search(Query(text, options.move, options.category, years, limit, by))
    if found.without_year:
        call.screen.notice(views.left_out(found.without_year, "year"))
    if not found.hits:
        raise _nothing_found(by, text, options)
    ids = list(dict.fromkeys(hit.annotation_id for hit in found.hits))
    shown = Result(
        views.hits(found),
        found.model_dump(),
        terminal=lambda: _terminal_views().hits(found, framework),
    )
    return _saved_or(call, shown, ids, f"Search: {text}")


def similar(call: Call) -> Result:
    wanted, framework = _text(call, "/corpus similar ID"), _framework(call)
    moves = call.options.move
    check_moves(moves, framework)
    if len(moves) > 1:
        raise UsageError(
            "/corpus similar takes one --move", hint="Without --move, all moves are compared."
        )
    with _opened(call) as corpus:
        _complete_vectors(call, corpus)
        found = corpus.similar(wanted, moves[0] if moves else None, call.options.limit or NEAREST)
    if not found:
        raise NothingFound("no other paper in the corpus is similar")
    return Result(views.similar(found), SimilarPapers(papers=found).model_dump())


def quote(call: Call) -> Result:
    framework, wording = _framework(call), _text(call, '/corpus quote "TEXT"')
    limit = call.options.limit or HITS
    with _opened(call) as corpus:
        found = corpus.quotes(wording, limit + 1)
    if not found:
        raise NothingFound(
            f"no abstract or move contains the wording {wording[:60]}",
            hint="`/corpus search WORDS` finds words in any order and with any endings.",
        )
    shown = found[:limit]
    if len(found) > limit:
        call.screen.notice(f"the first {counted(limit, 'passage')}; --limit N shows more")
    return Result(
        views.passages(shown),
        Passages(passages=shown).model_dump(),
        terminal=lambda: _terminal_views().passages(shown, framework),
    )


def filter_papers(call: Call) -> Result:
    framework = _framework(call)
    conditions = filters.parse(call.text, framework)
    text = " ".join(call.text.split())
    if not conditions:
        raise InputError("there is no condition", hint=filters.EXAMPLE)
    with _opened(call) as corpus:
        found = selected(call, corpus, conditions)
        ids = found[: call.options.limit]
        shown = [] if call.targets else ids[: call.options.limit or SHOWN]
        items = list(corpus.annotated(shown))
    if not call.targets and len(found) > len(shown):
        call.screen.notice(f"{len(found):,} papers; the first {len(shown):,} are shown (--limit N)")
    data = {"found": len(found), "papers": [item.record for item in items]}
    return _saved_or(call, Result(views.papers(items, framework), data), ids, f"Filter: {text}")


def statistics(call: Call) -> Result:
    with _opened(call) as corpus:
        found = corpus.statistics()
    return Result(
        views.statistics(found),
        found.model_dump(),
        terminal=lambda: _terminal_views().statistics(found),
    )


def show(call: Call) -> Result:
    wanted, framework = _text(call, "/corpus show ID"), _framework(call)
    with _opened(call) as corpus:
        found = [paper.details() for paper in corpus.find(wanted)]
    if not found:
        raise NothingFound(
            f"the corpus has no paper {wanted[:60]}",
            hint="`/corpus search WORDS` and `/corpus filter` list the ids of papers.",
        )
    return Result(
        views.papers_details(found),
        PapersDetails(papers=found).model_dump(),
        terminal=lambda: _terminal_views().papers_details(found, framework),
    )


def export(call: Call) -> Result:
    framework = _framework(call)
    with _opened(call) as corpus:
        ids = corpus.ids()
        failed = list(corpus.failures())
    if not ids and not failed:
        raise NothingFound(
            f"the corpus has no annotations by the framework {framework.name}",
            hint="`/annotate TABLE` creates annotations; `/corpus add TABLE` imports them.",
        )
    return _saved_or(call, Result(), ids, "Corpus", failed)


def highlight(call: Call) -> Result:
    """Return a result that saves PDF copies in which the passages of moves are highlighted."""
    if not call.targets or any(one not in call.folders for one in call.targets):
        raise UsageError(
            "/corpus highlight saves to a folder",
            hint="Usage: /corpus highlight [ID|CONDITION ...] save to FOLDER/",
        )
    framework, text = _framework(call), " ".join(call.text.split())
    with _opened(call) as corpus:
        found = corpus.find(text) if text else []
        if found:
            rows = {paper.row_id for paper in found}
            ids = corpus.ids(f"paper IN ({', '.join(map(str, sorted(rows)))})")
        else:
            ids = corpus.select(filters.parse(text, framework)).ids if text else corpus.ids()
    if not ids:
        raise NothingFound(
            f"no annotation meets {text[:80]}" if text else "the corpus has no annotations",
            hint="`/annotate FOLDER` annotates the PDF files of a folder.",
        )
    return _saved_or(call, Result(), ids, "Highlights")


def verify(call: Call) -> Result:
    with _opened(call) as corpus:
        found = corpus.verify()
    return Result(views.verified(found), found.model_dump(), exit_code=1 if found.wrong else 0)


def duplicates(call: Call) -> Result:
    with open_corpus(database(call), must_exist=True) as db:
        found = reads.pairs(db)
    data = Pairs(pairs=found).model_dump()
    if not found:
        return Result("No paper was merged, linked or split.", data)
    counts = Counter(pair.relation for pair in found)
    total = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return Result(f"{counted(len(found), 'pair')}: {total}\n{views.pairs(found)}", data)


def split(call: Call) -> Result:
    wanted = _text(call, "/corpus split ID")
    with open_corpus(database(call), must_exist=True) as db, transaction(db):
        rows = reads.rows_of(db, wanted)
        if len(rows) > 1:
            listed = ", ".join(map(str, rows))
            raise InputError(
                f"{wanted[:60]} is the id of several rows of the corpus: {listed}",
                hint=f"`/corpus split {rows[-1]}` splits the last row from the other rows.",
            )
        undone = [pair for row in rows for pair in reads.pairs(db, row) if pair.relation != "split"]
        if undone:
            merging.separate(db, rows[0])
    if not undone:
        problem = "is neither merged nor linked" if rows else "is not in the corpus"
        raise NothingFound(
            f"the paper {wanted[:60]} {problem}",
            hint="`/corpus duplicates` shows the merged and linked papers.",
        )
    text = f"Split permanently:\n{views.pairs(undone)}"
    return Result(text, Pairs(pairs=undone).model_dump())


def set_aside(call: Call) -> Result:
    path = database(call)
    kept, found = damage.set_aside(path)
    text = (
        f"{path} is damaged ({found}) and is now {kept}; the next command begins a new corpus.\n"
        f"`sqlite3 {kept} .recover` recovers the readable rows."
    )
    aside = SetAside(database=str(path), kept=str(kept), damage=found)
    return Result(text, aside.model_dump())


def zotero(call: Call) -> Result:
    from skills.corpus.zotero_notes import zotero_pull, zotero_push  # both modules load httpx

    runs = {"push": zotero_push.push, "undo": zotero_push.undo, "pull": zotero_pull.pull}
    return runs[call.subcommand.removeprefix("zotero-")](call)


_COMMANDS: Mapping[str, Callable[[Call], Result]] = {
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
    "highlight": highlight,
    "map": draw_map,
    "verify": verify,
    "duplicates": duplicates,
    "split": split,
    "set-aside": set_aside,
    "push": dataset.push,
    "zotero-push": zotero,
    "zotero-undo": zotero,
    "zotero-pull": zotero,
}
_WITHOUT_TEXT = set_of(
    "complete stats export page verify duplicates set-aside zotero-undo zotero-pull"
)


def execute(call: Call) -> Result:
    """Execute the subcommand of a call, and return its result.

    Raises:
        InputError: the subcommand takes no text, but the call has a text.
    """
    name, text = call.subcommand, call.text.strip()
    if text and name in _WITHOUT_TEXT:
        raise InputError(f"/corpus {name} takes no text, but got {text[:40]!r}")
    return _COMMANDS[name](call)


def _saved_or(
    call: Call, shown: Result, ids: Sequence[int], title: str, failed: Sequence[Failure] = ()
) -> Result:
    """Return a result that saves annotations, or `shown` if the command has no targets.

    Args:
        shown: the result of a command without targets.
        ids: the ids of the annotations to save.
        title: the heading of a saved page or Markdown list.
        failed: failures to list on a saved page.
    """
    if not call.targets:
        return shown
    framework, path = _framework(call), database(call)

    def items() -> Iterator[Annotated]:
        with opened(path, framework) as corpus:
            yield from corpus.annotated(ids)

    with opened(path, framework) as corpus:
        id_column = corpus.id_column(ids)
    summary = {"papers": len(ids), "corpus": str(path)}
    writers = exporters.Export(
        framework, id_column, items, lambda: iter(failed), title=title, raw=call.options.raw
    ).writers()
    return Result(
        writers=writers,
        records=lambda: (item.record for item in items()),
        summary=summary,
        folders=exporters.folders(
            call, framework, id_column, items, of_pdfs=call.subcommand == "highlight"
        ),
    )


def _terminal_views() -> ModuleType:
    """Return the module `terminal_views`, which is imported late because it loads rich."""
    from skills.corpus import terminal_views

    return terminal_views


def _framework(call: Call) -> Framework:
    return selected_framework(call.options.framework, call.frameworks)


def _opened(call: Call) -> AbstractContextManager[Engine]:
    return opened(database(call), _framework(call), call.screen.notice)


def _text(call: Call, usage: str) -> str:
    text = call.text.strip()
    if not text:
        raise InputError(f"/corpus {call.subcommand} needs an argument", hint=f"Usage: {usage}")
    return text


def _way(call: Call, corpus: Engine) -> By:
    """Return the kind of search that `--like` or `--words` selects.

    Without these options, the kind is "words" if the corpus is a folder of parts or the extra
    `meaning` is missing, and otherwise "both". A notice names the missing extra. If the kind is not
    "words", missing vectors are computed.

    Raises:
        UsageError: `--like` and `--words` are both given, or `--like` is given without the extra
            `meaning`.
        InputError: `--like` is given for a folder of parts, which has no vectors.
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
    _complete_vectors(call, corpus)
    return "meaning" if options.like else "both"


def _complete_vectors(call: Call, corpus: Engine) -> None:
    with call.screen.progress("preparing the vectors of moves") as tick:
        corpus.complete_vectors(tick, call.cancel.check)


def _nothing_found(by: By, query: str, options: Any) -> NothingFound:
    """Return the error for a search without results, with a hint that fits the query."""
    narrowed = (
        f" in {' or '.join(options.move)}" * bool(options.move)
        + f" of {options.year}" * bool(options.year)
        + f" with the category {' or '.join(options.category)}" * bool(options.category)
    )
    verb = "is similar to" if by == "meaning" else "contains"
    has_phrase = '"' in query
    adjacent = "words in double quotes must be adjacent; " * has_phrase
    hints: dict[By, str] = {
        "words": f"All words must be in one move ({adjacent}endings do not matter).",
        "meaning": "Without --like, a search also finds moves with some of the words.",
        "both": "Words in double quotes must be adjacent in each hit; without the quotes, moves "
        "with some of the words or a similar meaning are also found."
        if has_phrase
        else "No move is similar in meaning either; try other words.",
    }
    return NothingFound(f"no move {verb} {query[:60]}{narrowed}", hint=hints[by])
