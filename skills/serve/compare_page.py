"""The pages that list evaluations, training runs and curations, and show a curation."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skills.corpus.db.rows import Row, one, stored_json
from skills.evaluate import report_text
from skills.nanda.text import counted
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
        text=report_text,
        runs=run_folders(state),
        curations=curations,
    )


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
    """Return the first sentences of the report on a curation; [] before its end."""
    summary = stored_json(row["summary"] or "{}")
    sentences = summary.get("verdict") if isinstance(summary, dict) else None
    return [str(one) for one in sentences] if isinstance(sentences, list) else []


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A page of the verdicts of a curation.

    Attributes:
        rows: the rows of the table `verdicts`.
        counts: number of verdicts by decision, without probes; "probe" is the number of probes.
        votes: the votes on these rows, by the id of the ballot.
        personas: the names of the personas that voted.
        papers: the row number in the corpus of each paper, by its id.
        last: the id of the last row if there are more rows, or else 0.
    """

    rows: Sequence[Row]
    counts: Mapping[str, int]
    votes: Mapping[int, Sequence[Row]]
    personas: Sequence[str]
    papers: Mapping[str, int]
    last: int


def verdicts(db: sqlite3.Connection, run: int, shown: str, after: int) -> Verdicts:
    """Return a page of the verdicts of a curation.

    Args:
        run: the id of the curation in `runs`.
        shown: the decision of the verdicts to return, "probe", or "" for all verdicts.
        after: the id of the last row of the previous page, or 0.
    """
    counts: Counter[str] = Counter()
    for decision, is_probe, number in db.execute(
        "SELECT decision, probe IS NOT NULL, count(*) FROM verdicts WHERE run_id = ? GROUP BY 1, 2",
        [run],
    ):
        counts["probe" if is_probe else decision] += number
    rows = db.execute(
        "SELECT * FROM verdicts WHERE run_id = ? AND id > ? AND (? = '' OR ? ="
        " CASE WHEN probe IS NULL THEN decision ELSE 'probe' END) ORDER BY id LIMIT ?",
        [run, after, shown, shown, ROWS + 1],
    ).fetchall()
    page, has_more = rows[:ROWS], len(rows) > ROWS
    votes: dict[int, list[Row]] = {}
    for row in db.execute(
        "SELECT * FROM votes WHERE ballot_id IN (SELECT value FROM json_each(?)) ORDER BY id",
        [json.dumps([row["ballot_id"] for row in page if row["ballot_id"]])],
    ):
        votes.setdefault(row["ballot_id"], []).append(row)
    personas = dict.fromkeys(vote["persona"] for of in votes.values() for vote in of)
    papers = db.execute(
        "SELECT source_id, min(id) FROM papers WHERE source_id IN (SELECT value FROM json_each(?))"
        " GROUP BY source_id",
        [json.dumps([row["source_id"] for row in page])],
    )
    last = page[-1]["id"] if has_more else 0
    return Verdicts(page, counts, votes, list(personas), dict(map(tuple, papers)), last)


def shown_verdict(row: Row, votes: Sequence[Row], personas: Sequence[str]) -> dict[str, Any]:
    """Return a verdict as template variables, with its votes in the order of `personas`."""
    by_persona = {vote["persona"]: vote for vote in votes}
    return {
        "id": row["source_id"],
        "probe": row["probe"] or "",
        "decision": row["decision"],
        "reasons": row["reasons"],
        "mean": row["mean"],
        "votes": [by_persona.get(persona) for persona in personas],
        "explanations": [
            (vote["persona"], vote["explanation"]) for vote in votes if vote["explanation"]
        ],
    }
