"""The routes of comparisons."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.routing import Route

from skills.corpus.db.rows import Row, one, stored_json
from skills.evaluate.report import text
from skills.nanda.text import counted
from skills.reporting.word_diff import Piece, word_diff
from skills.serve.compare.curations import shown_verdict, verdicts
from skills.serve.compare.evaluation_files import Side, sides
from skills.serve.compare.paired import Outcome, Pair, compared
from skills.serve.compare.run_folders import run_folders
from skills.serve.compare.training import run_page
from skills.serve.pages import message, page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from skills.serve.state import State

PATH = "/compare"
TAB = (PATH, "Compare")
OUTCOMES: tuple[Outcome, ...] = ("won", "lost", "tied", "invalid")
ROWS = 10
"""Papers of a page, each with both annotations."""
HEADLINES = ("agreement", "placed", "rouge_l", "anchor", "kappa", "valid")
"""Metrics of the list of evaluations."""


def routes(state: State) -> list[Route]:
    return [
        Route(PATH, partial(_index, state)),
        Route(PATH + "/evaluations", partial(_evaluations, state)),
        Route(PATH + "/runs/{key}", partial(run_page, state)),
        Route(PATH + "/curations/{number:int}", partial(_curation, state)),
    ]


def _index(state: State, request: Request) -> Response:
    with state.corpus() as db:
        curations = db.execute(
            "SELECT * FROM runs WHERE skill = 'curate' ORDER BY id DESC LIMIT 50"
        ).fetchall()
    found = sides(state)
    columns = {side.key: side.model.metrics for side in found}
    used = [
        name for name in HEADLINES if any("overall" in of.get(name, {}) for of in columns.values())
    ]
    return page(
        request,
        "compare/index.html",
        title="Compare",
        sides=found,
        metrics=used,
        text=text,
        runs=run_folders(state),
        curations=curations,
    )


def _evaluations(state: State, request: Request) -> Response:
    by_key = {side.key: side for side in sides(state)}
    query = request.query_params
    first, other = (by_key.get(query.get(name, "")) for name in ("a", "b"))
    if first is None or other is None:
        return message(
            request, HTTPStatus.NOT_FOUND, "No such evaluation", "Choose two on the page Compare."
        )
    has_names = first.model.name != other.model.name
    names = [side.model.name if has_names else side.path.stem for side in (first, other)]
    found, shown = compared(first, other), query.get("show", "")
    pairs = [pair for pair in found.pairs if shown in ("", pair.outcome)]
    if shown in ("won", "lost"):
        pairs.sort(key=lambda pair: pair.margin, reverse=True)
    start = int(query["from"]) if query.get("from", "").isdecimal() else 0
    start = min(start, len(pairs))

    def address(**changes: object) -> str:
        given = {"a": first.key, "b": other.key, "show": shown, **changes}
        return f"{PATH}/evaluations?" + urlencode({k: v for k, v in given.items() if v})

    return page(
        request,
        "compare/evaluations.html",
        title=" against ".join(names),
        names=names,
        first=first,
        other=other,
        found=found,
        shown=shown,
        text=text,
        outcomes={name: (found.count(name), address(show=name)) for name in OUTCOMES},
        everything=address(show=""),
        swapped=address(a=other.key, b=first.key, show=""),
        pairs=list(_shown(state, pairs[start : start + ROWS], first)),
        place=(start + 1, min(start + ROWS, len(pairs)), len(pairs)),
        previous=address(**{"from": max(0, start - ROWS)}) if start else "",
        following=address(**{"from": start + ROWS}) if start + ROWS < len(pairs) else "",
    )


def _shown(state: State, pairs: list[Pair], first: Side) -> Iterator[dict[str, object]]:
    """Yield both annotations of each paper, with its title and number if the corpus has it."""
    labels = first.file.framework.get("moves", {})
    with state.corpus() as db:
        for pair in pairs:
            row = one(
                db,
                "SELECT id, title FROM papers WHERE source_id = ? AND sha256 = ?",
                [pair.id, pair.abstract],
            )
            moves = [answer.moves or {} for answer in pair.answers]
            yield {
                "pair": pair,
                "row": row,
                "moves": [
                    (label, *_sides([of.get(name, "") for of in moves], has_both=all(moves)))
                    for name, label in labels.items()
                ],
            }


def _sides(texts: list[str], *, has_both: bool) -> tuple[str, list[Piece]]:
    """Return the first text, and the other one as it differs if both models gave an annotation."""
    if has_both:
        return texts[0], list(word_diff(*texts))
    return texts[0], [Piece("same", texts[1])]


def _curation(state: State, request: Request) -> Response:
    number, query = min(request.path_params["number"], 2**63 - 1), request.query_params
    after = int(query["after"]) if query.get("after", "").isdecimal() else 0
    shown = query.get("show", "")
    with state.corpus() as db:
        row = one(db, "SELECT * FROM runs WHERE id = ? AND skill = 'curate'", [number])
        found = verdicts(db, number, shown, min(after, 2**63 - 1))
    if row is None:
        text_ = f"The corpus has no curation {number}."
        return message(request, HTTPStatus.NOT_FOUND, "No such curation", text_)
    here = f"{PATH}/curations/{number}"
    return page(
        request,
        "compare/curation.html",
        title=f"Curation of {row['input']}",
        row=row,
        shown=shown,
        counts={
            name: (count, f"{here}?{urlencode({'show': name})}")
            for name, count in found.counts.items()
        },
        here=here,
        verdict=_verdict(row),
        papers=found.papers,
        personas=found.personas,
        verdicts=[
            shown_verdict(one_, found.votes.get(one_["ballot_id"], ()), found.personas)
            for one_ in found.rows
        ],
        following=f"{here}?{urlencode({'show': shown, 'after': found.last})}" if found.last else "",
        counted=counted,
    )


def _verdict(row: Row) -> list[str]:
    """Return the first sentences of the report of a curation, if it has ended."""
    summary = stored_json(row["summary"] or "{}")
    sentences = summary.get("verdict") if isinstance(summary, dict) else None
    return [str(one) for one in sentences] if isinstance(sentences, list) else []
