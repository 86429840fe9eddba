"""`/curate` as a process, with a slow judge behind a server."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent_process import environment_of, start_agent
from curate_workspace import alternatives, gated, read_table, row, write_table
from protocol_server import ProtocolServer

from harness.models.backend import OnText, Reply, Request
from harness.testing import FakeModel
from skills.curate import panel

ROWS, WORKERS, PERSONAS = 12, 2, len(panel.shipped().personas)
GOOD = [number for number in range(ROWS) if number % 3]
"""The annotations that the judge passes."""
LINE = "/curate agent.csv --probes 1 save to agent_curated.csv"


class Slow(FakeModel):
    """A judge that takes 0.02 s for a vote.

    Attributes:
        asked: number of complete votes by request.
        most: how many are given before it waits for `go`.
    """

    def __init__(self) -> None:
        super().__init__(slots=WORKERS)
        self.asked: Counter[str] = Counter()
        self.most: int | None = None
        self.go = threading.Event()

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        content = "\n".join(message.content for message in request.messages)
        if "On 10" not in content:  # a check whether the server continues a prefill
            return Reply("", "stop", 100, 1, 0.02)
        number = int(content.partition("On 10")[2][:2])
        time.sleep(0.02)
        if self.most is not None and self.asked.total() >= self.most:
            self.go.wait(60)
        score = 4.5 if number in GOOD else 1.5
        told = _answers(alternatives(score))
        text = max(told, key=lambda token: told[token])
        if on_text:
            on_text(text)
        with self._arriving:
            self.asked[content] += 1
        return Reply(text, "stop", 100, 1, 0.02, 60, (told,) if request.top_logprobs else ())


def _answers(told: Mapping[str, float]) -> dict[str, float]:
    """Replace "1" to "5" by the answers of the shipped panel."""
    answers = panel.shipped().answers
    named = dict(zip("12345", sorted(answers, key=lambda answer: answers[answer]), strict=True))
    return {named.get(token, token): p for token, p in told.items()}


class Workspace:
    """A folder with a table, in which the command is run.

    Args:
        backend: "openai" or "ollama".
    """

    def __init__(self, folder: Path, server: ProtocolServer, backend: str = "openai") -> None:
        self.folder = folder
        write_table(folder / "agent.csv", *map(row, range(ROWS)), gated(ROWS))
        url = f"{server.url}/v1" if backend == "openai" else server.url
        registry = folder / "registry.yaml"
        registry.write_text(
            f"""\
version: 1
models:
  judge:
    tasks: [judge]
    serve: [{{backend: {backend}, model: "smollm2:latest", url: "{url}"}}]
""",
            encoding="utf-8",
        )
        self.environ = environment_of(folder)

    def start(self, line: str = LINE) -> subprocess.Popen[str]:
        line = line.replace(" save", f" --workers {WORKERS} save")
        return start_agent(self.folder, line, self.environ)

    def run(self, line: str = LINE) -> tuple[int, str, str]:
        """Run a command; return its exit code, stdout and stderr."""
        process = self.start(line)
        shown, stderr = process.communicate(timeout=120)
        return process.returncode, shown, stderr

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        path = self.folder / "data" / "corpus.db"
        if not path.exists():
            return []
        db = sqlite3.connect(path, timeout=10)
        try:
            return db.execute(sql).fetchall()
        except sqlite3.OperationalError:  # there are no tables yet
            return []
        finally:
            db.close()

    def judged(self) -> int:
        return len(self.query("SELECT 1 FROM ballots"))

    def wait_until_judged(self, count: int) -> None:
        until = time.monotonic() + 120
        while self.judged() < count:
            assert time.monotonic() < until, f"only {self.judged()} are judged"
            time.sleep(0.02)

    def ids(self, name: str = "agent_curated.csv") -> list[str]:
        return [found["arxiv_id"] for found in read_table(self.folder / name)]
