"""Test application with a scripted producer behind a server of either protocol, and a worker model
that annotates and judges."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate_workspace import Judge, Workspace, abstract, moves, write_table
from protocol_server import ProtocolServer

from harness.cli import main
from harness.models.backend import Message, OnText, Reply, Request
from harness.runs.frontend import Frontend
from harness.testing import FakeModel

LACKING = 4
"""Number of the paper without a limitation."""
REGISTRY = """\
version: 1
models:
  nanda-annotator: {{tasks: [annotate], serve: [{{backend: fake, model: worker}}]}}
  worker: {{tasks: [judge], serve: [{{backend: fake, model: worker}}]}}
  producer:
    tasks: [chat]
    serve: [{{backend: {backend}, model: smollm2, url: "{url}", context: {context}}}]
"""


class Producer(FakeModel):
    """Producer with access to the tool results it received."""

    def tool_results(self, number: int = -1) -> list[dict[str, Any]]:
        """Return the tool results in the request of this number."""
        messages = self.requests[number].messages
        return [json.loads(m.content) for m in messages if m.role == "tool"]


class Worker(Judge):
    """Judge and annotator of generated abstracts."""

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        if "claim" not in (request.json_schema or {}).get("properties", {}):
            return super().generate(request, on_text, cancel)
        found = re.search(r"On (\d+) deliveries", request.messages[-1].content)
        assert found is not None
        number = int(found[1]) - 1000
        changed = {"limitation": "Not stated."} if number == LACKING else {}
        return Reply(json.dumps({**moves(number), **changed}), "stop", 100, 50, 0.1)


class AgentWorkspace(Workspace):
    """Application whose producer is at `server`, with a table of four papers."""

    @property
    def texts(self) -> str:
        return self.stderr

    def __init__(self, folder: Path, server: ProtocolServer, protocol: str, context: int) -> None:
        super().__init__(folder, Worker())
        self.server, self.protocol = server, protocol
        self._screen = self.app.screen  # during a call, `app.screen` is another screen
        self.write_registry(context)
        rows = [
            {"arxiv_id": f"2401.{n:05}", "title": f"Paper {n}", "abstract": abstract(n)}
            for n in range(1, LACKING + 1)
        ]
        write_table(folder / "papers.csv", *rows)

    def write_registry(self, context: int) -> None:
        """Write a registry with the producer at the server."""
        url = self.server.url + ("/v1" if self.protocol == "openai" else "")
        text = REGISTRY.format(backend=self.protocol, url=url, context=context)
        self.app.settings.user_registry.write_text(text, encoding="utf-8")
        self.app.reload()

    def use_frontend(self, confirm: Callable[[str], bool] | None = None, **general: Any) -> None:
        """Use the one-shot frontend, or that of a session if there is a `confirm`."""
        self.app.frontend = Frontend("repl" if confirm else "one-shot", confirm)
        self.app.general = dict(general)

    def run(self, line: str) -> int:
        """Run a line as a one-shot and return its exit code."""
        return main.run_lines(self.app, [line])

    @property
    def out(self) -> str:
        return str(self._screen.out.getvalue())  # type: ignore[union-attr]

    @property
    def chats(self) -> list[Any]:
        path = "/api/chat" if self.protocol == "ollama" else "/v1/chat/completions"
        return self.server.bodies(path)

    @property
    def conversation(self) -> list[Message]:
        return self.app.conversation.messages


def consistent(turns: list[Message]) -> bool:
    """Return True if every call has a result and every turn ends with an answer."""
    waiting: list[str] = []
    ended = True
    for message in turns:
        if message.role == "tool":
            assert message.answers is not None
            waiting.remove(message.answers.id)
        elif waiting or (message.role == "user") != ended:
            return False
        waiting += [call.id for call in message.tool_calls]
        ended = message.role == "assistant" and not message.tool_calls
    return ended and not waiting
