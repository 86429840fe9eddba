"""Decide how /corpus search searches, and run /corpus similar."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound, UsageError
from harness.support.process import install_command
from harness.terminal.rendering import table
from skills.corpus.search.query_syntax import By, unknown
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from skills.corpus.corpus_store import Storage
    from skills.corpus.search.by_meaning import Similar

SHOWN = 10
"""Papers without `--limit`."""
NAMED = 3
"""Moves that are named of each."""


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


def similar(call: Call, corpus: Storage, framework: Framework, wanted: str) -> Result:
    """Return the papers that are nearest to `wanted`."""
    moves = call.options.move
    for move in moves:
        if move not in framework.names:
            raise unknown("move", move, framework.names)
    if len(moves) > 1:
        raise UsageError(
            "/corpus similar takes one --move", hint="Without it, all moves are compared."
        )
    _complete(call, corpus)
    found = corpus.similar(wanted, moves[0] if moves else None, call.options.limit or SHOWN)
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
