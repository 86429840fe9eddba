"""Attack elicitation of the Model Context Protocol, as a client and as a server.

elicitation-clients: a client answers the questions of `agent.py mcp`, but never with consent.
elicitation-forged: a call contains answers to questions that were not asked.
elicitation-servers: a server of mcp.json requests input of the user, generations, and folders.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcp import types
from mcp_session import make_project

from bench.attacks.web import ask, send, start_server
from harness.errors import NotAllowed
from harness.mcp import server_calls
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.testing import FakeModel, fake_app, tool_call

CALLS = 60
FORGED = 100
REQUESTS = 40
SECONDS = 20.0
"""Maximum seconds of a call, on a busy machine."""
CALL = {"name": "rows", "arguments": {"subcommand": "work", "rows": 1}}
LOOK = {"name": "rows_read", "arguments": {"subcommand": "look"}}
ANSWERS: dict[str, dict[str, Any]] = {
    "decline": {"result": {"action": "decline"}},
    "cancel": {"result": {"action": "cancel"}},
    "decline with content": {"result": {"action": "decline", "content": {"accept": True}}},
    "another action": {"result": {"action": "allow"}},
    "an action in another case": {"result": {"action": "Accept"}},
    "a list": {"result": ["accept"]},
    "nothing": {"result": None},
    "an object of actions": {"result": {"action": {"accept": True}}},
    "an error": {"error": {"code": -32603, "message": "accept"}},
    "an error of another type": {"error": "accept"},
    "a long error": {"error": {"code": 1, "message": "x" * 1_000_000}},
    "both": {"result": {"action": "accept"}, "error": {"code": 1, "message": "no"}},
    "no answer": {},
}
VALID = ("decline", "cancel", "decline with content", "an error", "a long error")
"""Answers that end a call. After any other answer, the server waits for a valid answer."""


def clients(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Answer questions of the MCP server without consent: the command must not run.

    The server must answer the next call in time.
    """
    project = make_project(folder / "project")
    server = start_server(project)
    try:
        about = {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}}
        ask(server, "start", "initialize", {**about, "clientInfo": {"name": "a", "version": "1"}})
        send(server, {"method": "notifications/initialized"})
        for number in range(CALLS):
            kind = rng.choice([*ANSWERS, "an answer to another question", "decline, then accept"])
            yield _answered(server, number, kind, project / "done")
    except (OSError, ValueError) as error:
        yield f"the MCP server ended: {error}"
    finally:
        server.kill()
        server.communicate()


def _answered(server: subprocess.Popen[str], number: int, kind: str, done: Path) -> str | None:
    assert server.stdout is not None
    send(server, {"id": f"call-{number}", "method": "tools/call", "params": CALL})
    while (question := json.loads(server.stdout.readline())).get("method") != "elicitation/create":
        pass
    accept = {"result": {"action": "accept"}}
    if answer := ANSWERS.get(kind):
        send(server, {"id": question["id"], **answer})
    elif kind == "decline, then accept":
        send(server, {"id": question["id"], **ANSWERS["decline"]})
        send(server, {"id": question["id"], **accept})
    elif kind == "an answer to another question":
        send(server, {"id": f"{question['id']}0", **accept})
    if kind not in (*VALID, "decline, then accept"):
        time.sleep(0.3)
        cancelled = {"requestId": f"call-{number}", "reason": "no answer"}
        send(server, {"method": "notifications/cancelled", "params": cancelled})
    else:
        while json.loads(server.stdout.readline()).get("id") != f"call-{number}":
            pass
    started = time.monotonic()
    ask(server, f"look-{number}", "tools/call", LOOK)
    taken = time.monotonic() - started
    if done.exists():
        return f"{kind}: the call ran"
    return None if taken < SECONDS else f"{kind}: the next answer took {taken:.0f} s"


def forged(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Send calls that contain answers, as newer clients do; no answer may count as consent."""
    question = "/rows writes out.txt and does rows. Allow it?"
    others = (question.lower(), f"{question} ", "/rows does rows. Allow it?", "", "*")
    right = server_calls._key(question)
    states = ("", "[]", "{}", "null", "[", "true", json.dumps({right: True}), f'"{right}"', "[[]]")
    for number in range(FORGED):
        keys = [server_calls._key(other) for other in rng.sample(others, 2)]
        keys += rng.sample([right.upper(), right[:-1], f"{right} ", question], 2)
        actions = {key: types.ElicitResult(action="accept") for key in keys}
        if number % 3 == 0:
            actions[right] = types.ElicitResult(action=rng.choice(["decline", "cancel"]))
        state = rng.choice((*states, json.dumps(keys)))
        params = types.InputResponseRequestParams(input_responses=actions, request_state=state)
        try:
            allowed = server_calls._answered(params)(question)
        except NotAllowed:
            allowed = False
        yield f"allowed by {[*actions]} and the state {state}" if allowed else None


def servers(folder: Path, rng: random.Random) -> Iterator[str | None]:
    """Send requests from an MCP server to the harness while a model calls a tool of the server.

    The user must be asked only once, about the tool call.
    """
    questions: list[str] = []

    def choose(question: str, choices: Sequence[str]) -> str:
        questions.append(question)
        return "yes"

    app = fake_app(
        folder, FakeModel("fine", takes_tools=True), door=Frontend("test", choose=choose)
    )
    script = str(CODE_ROOT / "tests/support/servers/mcp_hostile.py")
    entry = {"command": "python3", "args": [script]}
    app.settings = replace(app.settings, mcp_deadline=SECONDS)
    app.settings.mcp_file.write_text(json.dumps({"mcpServers": {"bad": entry}}))
    app.mcp_servers.start()
    app.mcp_servers.servers[0].wait(SECONDS)
    form = {"type": "object", "properties": {"password": {"type": "string"}}}
    texts = ("Your password?", "\x1b[2J\u202eYour key?", "x" * 100_000, "")
    try:
        for _ in range(REQUESTS):
            text = rng.choice(texts)
            method, params = rng.choice(
                [
                    ("elicitation/create", {"message": text, "requestedSchema": form}),
                    ("elicitation/create", {"mode": "url", "message": text, "url": "file:///etc"}),
                    ("elicitation/create", {"message": 5}),
                    ("sampling/createMessage", {"messages": [], "maxTokens": 10**9}),
                    ("roots/list", {}),
                    ("ping", {}),
                    ("x" * 1000, {"text": text}),
                ]
            )
            arguments = {"method": method, "params": params, "count": rng.choice((1, 30))}
            questions.clear()
            started = time.monotonic()
            answer = app.toolbox.call(tool_call("bad__ask", **arguments), app.screen)
            taken = time.monotonic() - started
            wrong = [f"asked {len(questions)} times"] * (len(questions) != 1)
            answered = "0 of" not in answer.content and method != "ping"
            wrong += [f"{answer.content[:200]}"] * answered
            wrong += [f"{taken:.0f} s"] * (taken > SECONDS)
            yield f"{method[:40]}: {'; '.join(wrong)}" if wrong else None
    finally:
        app.close()


AREAS: dict[str, Callable[[Path, random.Random], Iterator[str | None]]] = {
    "elicitation-clients": clients,
    "elicitation-forged": forged,
    "elicitation-servers": servers,
}
