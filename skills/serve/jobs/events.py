"""The progress of running jobs, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from harness.errors import HarnessError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from skills.corpus.db.progress import RunningJobs
    from skills.serve.state import State

STEP = 0.25
"""Seconds between two looks at whether the server has to end."""
INTERVAL = 1.0
"""Seconds between two looks at the jobs."""
QUIET = 10.0
"""Seconds without news after which something is sent, to notice that the browser is gone."""


async def events(state: State, running: RunningJobs, request: Request) -> Response:
    """Send the list of running jobs, and again when it has changed."""
    return StreamingResponse(
        _stream(state, running),
        media_type="text/event-stream",
    )


async def _stream(state: State, running: RunningJobs) -> AsyncIterator[str]:
    sent, quiet = "", 0.0
    while not state.is_closing():
        text = await run_in_threadpool(_read, state, running)
        if text != sent:
            sent, quiet = text, 0.0
            yield f"data: {text}\n\n"
        elif quiet >= QUIET:
            quiet = 0.0
            yield ": still here\n\n"
        waited = 0.0
        while waited < INTERVAL and not state.is_closing():
            await asyncio.sleep(STEP)
            waited += STEP
        quiet += waited


def _read(state: State, running: RunningJobs) -> str:
    """Return the jobs as JSON on one line; none if the corpus cannot be read."""
    try:
        with state.corpus() as db:
            found = [asdict(one) for one in running.read(db)]
    except HarnessError:  # pages show it
        return "[]"
    return json.dumps([{name: one[name] for name in one if name != "seen"} for one in found])
