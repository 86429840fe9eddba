"""The page that lists evaluations, training runs and curations, and the page of a curation."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skills.corpus.db.rows import Row, one, stored_json
from skills.evaluate import report_text
from skills.serve.evaluations_page import sides
from skills.serve.pages import State, message, page
from skills.serve.training_page import run_folders

PATH = "/compare"
TAB = (PATH, "Compare")
HEADLINES = ("agreement", "placed", "rouge_l", "anchor", "kappa", "valid")
"""The metrics in the list of evaluations."""
ROWS = 50


def routes(state: State) -> list[Route]:
    return [
        Route(PATH, partial(_index, state)),
        Route(PATH + "/curations/{number:int}", partial(_curation, state)),
    ]


def _index(state: State, request: Request) -> Response:
    with state.corpus() as db:
        curations = db.execute(
            "SELECT * FROM runs WHERE skill = 'curate' ORDER BY id DESC LIMIT 50"
        ).fetchall()
    found = sides(state)
    metrics = [side.model.metrics for side in found]
    used = [name for name in HEADLINES if any("overall" in of.get(name, {}) for of in metrics)]
    return page(
        request,
        "compare/index.html",
        title="Compare",
        sides=found,
        metrics=used,
        text=report_text,
        runs=run_folders(state),
        curations=curations,
    )


def _curation(state: State, request: Request) -> Response:
    """Return a page with verdicts of a curation.

    The URL parameter `show` is the decision of the verdicts to show, "probe" to show the probes, or
    "" to show all. The parameter `after` is the id of the last verdict on the previous page.
    """
    number, query = min(request.path_params["number"], 2**63 - 1), request.query_params
    after = int(query["after"]) if query.get("after", "").isdecimal() else 0
    shown = query.get("show", "")
    with state.corpus() as db:
        row = one(db, "SELECT * FROM runs WHERE id = ? AND skill = 'curate'", [number])
        counts = db.execute(
            "SELECT CASE WHEN probe IS NULL THEN decision ELSE 'probe' END, count(*) FROM verdicts"
            " WHERE run_id = ? GROUP BY 1",
            [number],
        ).fetchall()
        found = db.execute(
            "SELECT * FROM verdicts WHERE run_id = ? AND id > ? AND (? = '' OR ? ="
            " CASE WHEN probe IS NULL THEN decision ELSE 'probe' END) ORDER BY id LIMIT ?",
            [number, min(after, 2**63 - 1), shown, shown, ROWS + 1],
        ).fetchall()
        verdicts, more = found[:ROWS], found[ROWS:]
        votes = votes_on(db, [one["ballot_id"] for one in verdicts if one["ballot_id"]])
        papers = db.execute(
            "SELECT source_id, min(id) FROM papers"
            " WHERE source_id IN (SELECT value FROM json_each(?)) GROUP BY source_id",
            [json.dumps([one["source_id"] for one in verdicts])],
        ).fetchall()
    if row is None:
        return message(request, "No such curation", f"The corpus has no curation {number}.")
    here = f"{PATH}/curations/{number}"
    following = urlencode({"show": shown, "after": verdicts[-1]["id"]}) if more else ""
    return page(
        request,
        "compare/curation.html",
        title=f"Curation of {row['input']}",
        row=row,
        shown=shown,
        counts={name: (count, f"{here}?{urlencode({'show': name})}") for name, count in counts},
        here=here,
        verdict=stored_json(row["summary"] or "{}").get("verdict", []),
        papers=dict(map(tuple, papers)),
        personas=list(dict.fromkeys(name for of in votes.values() for name in of)),
        verdicts=verdicts,
        votes=votes,
        following=f"{here}?{following}" if following else "",
    )


def votes_on(db: sqlite3.Connection, ballots: Sequence[int]) -> dict[int, dict[str, Row]]:
    """Return the votes on these ballots, by the id of the ballot and the name of the persona."""
    votes: dict[int, dict[str, Row]] = {}
    for row in db.execute(
        "SELECT * FROM votes WHERE ballot_id IN (SELECT value FROM json_each(?)) ORDER BY id",
        [json.dumps(ballots)],
    ):
        votes.setdefault(row["ballot_id"], {})[row["persona"]] = row
    return votes
