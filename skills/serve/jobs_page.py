"""The page that lists jobs, with the progress of running jobs, and the page of a job."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from harness.errors import HarnessError
from harness.support.process import is_alive
from skills.corpus.db.rows import Row, one, stored_json
from skills.corpus.html_page import facts
from skills.serve.pages import State, message, page

TAB = ("/jobs", "Jobs")
SHOWN = 100
"""Maximum number of jobs on the page, which lists the latest jobs."""
JUDGED = "SELECT run_id, count(*) FROM ballots WHERE status = 'done' GROUP BY run_id"
"""SQL that counts the finished ballots of each curation, including the ballots on probes."""
_RUNNING = """
    SELECT id AS run, skill, input, model, started_at, settings, pid,
        (SELECT count(*) FROM annotations WHERE run_id = runs.id) + (SELECT count(*) FROM ballots
            WHERE run_id = runs.id AND status = 'done') AS done,
        (SELECT count(*) FROM failures WHERE run_id = runs.id) + (SELECT count(*) FROM ballots
            WHERE run_id = runs.id AND status = 'failed') AS failed
    FROM runs WHERE status = 'running' ORDER BY id DESC"""
"""SQL for running jobs; a job stores either annotations and failures, or ballots."""
INTERVAL = 0.5
"""Seconds between two queries of the running jobs."""


def routes(state: State) -> list[Route]:
    return [
        Route("/jobs", partial(_jobs, state)),
        Route("/jobs/events", partial(events, state)),
        Route("/jobs/{number:int}", partial(_job, state)),
    ]


def _jobs(state: State, request: Request) -> Response:
    with state.corpus() as db:
        rows = db.execute("SELECT * FROM runs ORDER BY id DESC LIMIT ?", [SHOWN]).fetchall()
        [(count,)] = db.execute("SELECT count(*) FROM runs")
        unfinished = {one["run"]: one for one in running(db)}
        judged = dict(map(tuple, db.execute(JUDGED)))
    ended = {row["id"]: stored_json(row["summary"] or "{}") for row in rows}
    return page(
        request,
        "jobs/jobs.html",
        title="Jobs",
        rows=rows,
        more=count - len(rows),
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
        return message(request, "No such job", f"The corpus has no job {number}.")
    return page(
        request,
        "jobs/job.html",
        title=f"/{row['skill']} {row['input']}".strip(),
        row=row,
        settings=facts(stored_json(row["settings"])),
        summary=facts(stored_json(row["summary"] or "{}")),
    )


async def events(state: State, request: Request) -> Response:
    """Return a stream of server-sent events with the running jobs as JSON.

    An event is sent at the beginning and after each change.
    """
    return StreamingResponse(_stream(state), media_type="text/event-stream")


async def _stream(state: State) -> AsyncIterator[str]:
    sent = ""
    while not state.is_closing():
        text = await run_in_threadpool(_read, state)
        if text != sent:
            sent = text
            yield f"data: {text}\n\n"
        await asyncio.sleep(INTERVAL)


def _read(state: State) -> str:
    """Return the running jobs as JSON, or an empty list if the corpus cannot be read."""
    try:
        with state.corpus() as db:
            return json.dumps(running(db))
    except HarnessError:  # other pages report this error
        return "[]"


def running(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the progress of the jobs with the status "running", the latest first.

    The keys of a job are run (its id in `runs`), skill, input, model, started_at, due (as `due`
    returns it), is_alive (False if the process of the job has ended), done (number of stored
    annotations, or of complete ballots) and failed (number of failures, or of failed ballots).
    """
    return [
        {
            **{name: row[name] for name in ("run", "skill", "input", "model", "started_at")},
            "due": due(row),
            "is_alive": is_alive(row["pid"]),
            **{name: row[name] for name in ("done", "failed")},
        }
        for row in db.execute(_RUNNING).fetchall()
    ]


def due(row: Row) -> int | None:
    """Return the number of papers or annotations that a job processes; None if not recorded."""
    settings = stored_json(row["settings"])
    known = settings.get("due") if isinstance(settings, dict) else None
    return known if isinstance(known, int) else None
