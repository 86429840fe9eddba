"""The routes of jobs."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from skills.corpus.db.progress import RunningJobs, due
from skills.corpus.db.rows import one, stored_json
from skills.corpus.report.data import facts
from skills.serve.jobs.events import events
from skills.serve.pages import message, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from skills.serve.state import State

TAB = ("/jobs", "Jobs")
SHOWN = 100
"""Jobs that are listed, the last ones."""
JUDGED = "SELECT run_id, count(*) FROM ballots WHERE status = 'done' GROUP BY run_id"
"""What curations have judged, probes too: their summaries count annotations alone."""


def routes(state: State) -> list[Route]:
    running = RunningJobs()
    return [
        Route("/jobs", partial(_jobs, state, running)),
        Route("/jobs/events", partial(events, state, running)),
        Route("/jobs/{number:int}", partial(_job, state)),
    ]


def _jobs(state: State, running: RunningJobs, request: Request) -> Response:
    with state.corpus() as db:
        rows = db.execute("SELECT * FROM runs ORDER BY id DESC LIMIT ?", [SHOWN]).fetchall()
        unfinished = {one.run: asdict(one) for one in running.read(db)}
        judged = dict(map(tuple, db.execute(JUDGED)))
    ended = {row["id"]: stored_json(row["summary"] or "{}") for row in rows}
    return page(
        request,
        "jobs/jobs.html",
        title="Jobs",
        rows=rows,
        unfinished=unfinished,
        ended=ended,
        judged=judged,
        due=due,
    )


def _job(state: State, request: Request) -> Response:
    number = request.path_params["number"]
    with state.corpus() as db:
        row = one(db, "SELECT * FROM runs WHERE id = ?", [min(number, 2**63 - 1)])
    if row is None:
        text = f"The corpus has no job {number}."
        return message(request, HTTPStatus.NOT_FOUND, "No such job", text)
    shown: dict[str, Any] = {
        name: stored_json(row[name]) if row[name] else {} for name in ("settings", "summary")
    }
    return page(
        request,
        "jobs/job.html",
        title=f"/{row['skill']} {row['input']}".strip(),
        row=row,
        settings=facts(shown["settings"]),
        summary=facts(shown["summary"]),
    )
