"""Implement /corpus map."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

from harness.api.skill import Call, Result, Write
from harness.errors import UsageError
from harness.support.process import require
from skills.corpus.corpus_store import opened, selected
from skills.corpus.db.connection import database
from skills.corpus.map import map_views
from skills.corpus.map.field_map import FieldMap, as_output, map_of, read_papers
from skills.corpus.outputs import MapSaved
from skills.corpus.records import Annotated
from skills.corpus.search import filters
from skills.corpus.search.query_syntax import check_moves
from skills.nanda.framework import Framework, selected_framework

EACH = 500
"""Number of papers between two progress messages."""


def draw_map(call: Call) -> Result:
    """Map all papers, or the papers that meet the conditions in the text of the command."""
    require("sklearn", extra="map")
    if any(target.suffix.lower() == ".png" for target in call.targets):
        require("resvg_py", extra="map")
        map_views.check_fonts()
    framework = selected_framework(call.options.framework, call.frameworks)
    moves = _moves(call, framework)
    conditions = filters.parse(call.text, framework)
    text = "".join(filter(str.isprintable, " ".join(call.text.split())))
    path = database(call)
    with (
        opened(path, framework, call.screen.notice) as corpus,
        call.screen.progress("mapping") as tick,
    ):
        ids = selected(call, corpus, conditions)

        def items() -> Iterator[Annotated]:
            for number, item in enumerate(corpus.annotated(ids), start=1):
                if number % EACH == 0:
                    call.cancel.check()
                    tick(f"{number:,} of {len(ids):,} papers read")
                yield item

        found = map_of(
            read_papers(items(), framework, moves),
            framework,
            moves,
            title=f"Map: {text}" if text else "Map of the corpus",
            crossing=not call.options.move,
            number=call.options.clusters,
            check=call.cancel.check,
            tick=tick,
        )
    summary = MapSaved(
        papers=len(found.papers),
        corpus=str(path),
        clusters={one.name: len(one.clusters) for one in found.groupings},
        gaps=len(found.matrix.gaps) if found.matrix else None,
    )
    return Result(
        map_views.summary(found),
        as_output(found).model_dump(),
        writers=_writers(found),
        summary=summary.model_dump() if call.targets else None,
    )


def _moves(call: Call, framework: Framework) -> tuple[str, ...]:
    """Return the moves of --move, or else the move of the rows and the move of the columns.

    The default moves of rows and columns are "method" and "scope" if the framework has both moves,
    or else the first two moves of the framework.
    """
    options = call.options
    if options.move and (options.rows or options.columns):
        raise UsageError(
            "--move and --rows or --columns exclude each other",
            hint="--move maps single moves; --rows and --columns name the moves of a matrix.",
        )
    moves = tuple(dict.fromkeys(options.move))
    if not moves:
        usual = ("method", "scope")
        # A framework with a single move has the same default for rows and columns.
        names = usual if {*usual} <= {*framework.names} else (framework.names * 2)[:2]
        moves = (options.rows or names[0], options.columns or names[1])
    check_moves(moves, framework)
    if not options.move and moves[0] == moves[1]:
        raise UsageError(
            f"rows and columns are both the {moves[0]}",
            hint="Name two different moves, or map one move with --move.",
        )
    return moves


def _writers(found: FieldMap) -> dict[str, Write]:
    def data(file: IO[bytes]) -> None:
        text = json.dumps(as_output(found).model_dump(), ensure_ascii=False, indent=1)
        file.write(text.encode("utf-8", "backslashreplace") + b"\n")

    return {
        ".html": lambda file: map_views.write_html(file, found),
        ".svg": lambda file: file.write(map_views.svg(found).encode()),
        ".png": lambda file: file.write(map_views.png(found)),
        ".json": data,
    }
