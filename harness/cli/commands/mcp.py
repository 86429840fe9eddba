"""/mcp: the servers of mcp.json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from harness.api.skill import Call, Result
from harness.chat.tools import ALL
from harness.cli.commands.base import AppCommand
from harness.errors import NothingFound, UsageError
from harness.plugins.user_choices import TrustStore
from harness.support.suggestions import did_you_mean
from harness.terminal.tables import table

SHOWN = 100
"""Characters of a tool's description in the list."""


class McpCommand(AppCommand):
    """Starts the servers and shows them."""

    name = "mcp"
    summary = "Show the servers of mcp.json, their state and their tools"
    usage = "NAME"
    details = """\
    The servers of mcp.json in the user's configuration, and of mcp.json and .mcp.json in a trusted
    project, are started, as a chat does. NAME shows the tools of one server. `/reload` starts all
    of them again."""
    text = "optional"
    subcommands = {"trust": "trust the project's mcp.json in its current state"}

    def run(self, call: Call) -> Result:
        name = call.text.strip()
        if call.subcommand:
            return self._trust()
        servers = self._app.mcp_servers
        with call.screen.progress("starting the servers"):
            servers.start(self._app.settings.mcp_deadline)
        tools = servers.tools()
        data = [
            {
                "name": server.entry.name,
                "state": server.state,
                "problem": server.problem,
                "from": server.entry.where,
                "place": server.entry.place,
                "tools": [asdict(tool.described(ALL)) for tool in tools if tool.server is server],
            }
            for server in servers.servers
        ]
        if name:
            return _one(name, data)
        found = servers.configuration
        content = {
            "servers": data,
            "disabled": [entry.name for entry in found.entries if entry.written.disabled],
            "untrusted": [str(path) for path in found.untrusted],
            "problems": [str(problem) for problem in found.problems],
        }
        return Result("\n".join(_lines(content, str(self._app.settings.mcp_file))), content)

    def _trust(self) -> Result:
        settings = self._app.settings
        files = [path for path in settings.project_mcp_files if path.is_file()]
        if not files:
            raise NothingFound(
                "this project has no mcp.json and no .mcp.json", where=str(settings.project_dir)
            )
        for path in files:
            TrustStore(settings.trust_file).trust(path)
        self._app.stop_servers()
        names = " and ".join(map(str, files))
        return Result(f"{names}: trusted in the current state.", {"trusted": list(map(str, files))})


def _one(name: str, servers: list[dict[str, Any]]) -> Result:
    for server in servers:
        if server["name"] == name:
            rows = [
                (tool["name"], " ".join(tool["description"].split())[:SHOWN])
                for tool in server["tools"]
            ]
            lines = [f"{name}: {server['state']} ({server['place']})"]
            lines += [server["problem"]] * bool(server["problem"])
            return Result("\n".join([*lines, table(("tool", ""), rows)]), server)
    names = [server["name"] for server in servers]
    hint = did_you_mean(name, names) or f"There are {', '.join(names) or 'none'}."
    raise UsageError(f"there is no server {name!r}", hint=hint)


def _lines(content: dict[str, Any], file: str) -> Iterator[str]:
    rows = [
        (one["name"], one["state"], str(len(one["tools"])), one["from"], one["problem"])
        for one in content["servers"]
    ]
    if rows:
        yield table(("server", "state", "tools", "from", ""), rows)
    elif not any(content.values()):
        yield f"No servers: there is no {file}."
    for one in content["servers"]:
        if one["tools"]:
            yield f"{one['name']}: {', '.join(tool['name'] for tool in one['tools'])}"
    yield from (f"{name} is disabled in its file" for name in content["disabled"])
    yield from (
        f"{path} is not trusted: read it, then `/mcp trust`" for path in content["untrusted"]
    )
    yield from (f"left out: {problem}" for problem in content["problems"])
