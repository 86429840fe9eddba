"""The web application on a real socket, for tests with HTTP clients and browsers.

with served(database) as app:
    with app.client() as client:
        client.get("/papers")
    page.goto(app.entrance("/papers"))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

pytest.importorskip("starlette", reason="needs the extra web")
pytest.importorskip("uvicorn", reason="needs the extra web")

from harness.settings import Settings
from harness.testing import fake_settings
from skills.curate.review.reviewer import Queue
from skills.nanda.framework import Framework, nanda
from skills.serve.pages import CORPUS, State
from skills.serve.server import listener, web_server


@dataclass(frozen=True)
class Served:
    """A running application. `origin` is "http://127.0.0.1:PORT"; `stop` ends it."""

    origin: str
    state: State
    stop: Callable[[], None]

    def entrance(self, path: str = "/") -> str:
        """Return the address of a page with a new token, for one browser or client."""
        mark = "&" if "?" in path else "?"
        return f"{self.origin}{path}{mark}token={self.state.sessions.new_token()}"

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Open a client with a session, which sends its origin as a browser does."""
        # A proxy in the environment variables is ignored, since the server is on this machine.
        with httpx.Client(
            base_url=self.origin, follow_redirects=True, trust_env=False, timeout=60
        ) as client:
            client.get(self.entrance()).raise_for_status()
            client.headers["origin"] = self.origin
            yield client


@contextmanager
def served(
    database: Path,
    framework: Framework | None = None,
    settings: Settings | None = None,
    workspace: Path | None = None,
    table: Path = CORPUS,
    gold: Path | None = None,
    double: float | None = None,
) -> Iterator[Served]:
    """Serve a corpus at a free port; the server has ended after the block.

    Args:
        table: the annotations to review.
        gold: the gold table; by default, gold.csv beside the corpus.
    """
    framework = framework or nanda()
    settings = settings or fake_settings(database.parent)
    gold, locks = gold or database.with_name("gold.csv"), settings.data_dir / "reviews"
    queue = Queue(framework, gold, database, locks, lambda _: None, double)
    workspace = workspace or settings.project_dir
    state = State(database, framework, settings, workspace, f"{database}", queue, table)
    sock = listener(0)
    port = sock.getsockname()[1]
    server = web_server(state, port)

    def stop() -> None:
        server.should_exit = True

    thread = threading.Thread(target=server.run, args=([sock],), name="web application")
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{port}", state, stop)
    finally:
        stop()
        thread.join()
        state.pdfs.close()
