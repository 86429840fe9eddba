"""/mcp: the servers of mcp.json."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from harness.api.skill import Call, Result, SkillOptions
from harness.chat.toolbox import ALL
from harness.cli.app_command import AppCommand, CommandData
from harness.errors import NothingFound, UsageError, did_you_mean
from harness.plugins.trust import TrustStore
from harness.terminal.rendering import table

SHOWN = 100
"""Maximum number of characters of a tool's description in the list."""


class ServerState(CommandData):
    """A server of mcp.json.

    Attributes:
        written_in: the file and line that define the server.
        place: the command or the address of the server.
        tools: name, description and parameters of each tool.
    """

    name: str
    state: str
    problem: str
    written_in: str = Field(serialization_alias="from")
    place: str
    tools: list[dict[str, Any]]


class ServerList(CommandData):
    """The result of /mcp.

    Attributes:
        servers: the servers that /mcp starts.
        disabled: the names of the servers that their file disables.
        untrusted: the paths of files that the user has not trusted; their servers are not started.
        problems: messages about invalid files and entries.
    """

    servers: list[ServerState]
    disabled: list[str]
    untrusted: list[str]
    problems: list[str]


class McpCommand(AppCommand):
    """The command /mcp, which starts and shows servers, and edits or trusts mcp.json."""

    name = "mcp"
    summary = "Show the servers of mcp.json, their state and their tools"
    usage = "NAME|SERVER"
    details = """\
    /mcp starts the servers in the mcp.json of your configuration, and in mcp.json and .mcp.json of
    a trusted project, as a chat does. NAME shows the tools of a server. `/reload` restarts all
    servers.

    `/mcp add NAME URL` and `/mcp add NAME COMMAND ARGUMENTS` write to your mcp.json. If the
    arguments contain options, write `/mcp add --env KEY=VALUE -- NAME COMMAND ARGUMENTS`."""
    text = "optional"
    subcommands = {
        "add": "write a server to your mcp.json: a name, then an address or a command",
        "remove": "delete a server from your mcp.json",
        "trust": "trust the project's mcp.json in its current state",
    }

    class Add(SkillOptions):
        env: list[str] = Field(
            [], description="environment variable of the server, KEY=VALUE; may be repeated"
        )
        header: list[str] = Field(
            [], description='HTTP header of requests, "NAME: VALUE"; may be repeated'
        )

    Options = Add

    variants: ClassVar[dict[str, type[SkillOptions]]] = {"add": Add}

    output: ClassVar[dict[str, type[BaseModel]]] = {"": ServerList}

    def run(self, call: Call) -> Result:
        name = call.text.strip()
        if call.subcommand == "add":
            return self._add(call)
        if call.subcommand == "remove":
            return self._remove(name)
        if call.subcommand:
            return self._trust()
        servers = self._app.mcp_servers
        with call.screen.progress("starting the servers"):
            servers.start(self._app.settings.mcp_deadline)
        tools, found = servers.tools(), servers.configuration
        shown = [
            ServerState(
                name=server.entry.name,
                state=server.state,
                problem=server.problem,
                written_in=server.entry.where,
                place=server.entry.place,
                tools=[asdict(tool.described(ALL)) for tool in tools if tool.server is server],
            )
            for server in servers.servers
        ]
        if not name:
            listed = ServerList(
                servers=shown,
                disabled=[entry.name for entry in found.entries if entry.written.disabled],
                untrusted=[str(path) for path in found.untrusted],
                problems=[str(problem) for problem in found.problems],
            )
            return listed.as_result(_overview(listed, self._app.settings.mcp_file))
        names = [server.name for server in shown]
        if name not in names:
            hint = did_you_mean(name, names) or f"Servers: {', '.join(names) or 'none'}."
            raise UsageError(f"there is no server {name!r}", hint=hint)
        server = shown[names.index(name)]
        rows = [(one["name"], " ".join(one["description"].split())[:SHOWN]) for one in server.tools]
        head = f"{name}: {server.state} ({server.place})"
        lines = head, server.problem, table(("tool", ""), rows)
        return server.as_result("\n".join(filter(None, lines)))

    def _add(self, call: Call) -> Result:
        from harness.mcp import client_config

        path = self._app.settings.mcp_file
        name, server = _server(call)
        entry = client_config.add(path, name, server, force=call.force)
        self._app.stop_servers()
        text = f"{entry.name} ({entry.place}) is written to {path}; `/mcp` starts it."
        return Result(text, {"name": entry.name, "place": entry.place, "file": str(path)})

    def _remove(self, name: str) -> Result:
        if not name:
            raise UsageError("/mcp remove needs a name", hint="`/mcp` lists all servers.")
        from harness.mcp import client_config

        path = self._app.settings.mcp_file
        client_config.remove(path, name)
        self._app.stop_servers()
        return Result(f"{name} is deleted from {path}.", {"name": name, "file": str(path)})

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


def _server(call: Call) -> tuple[str, dict[str, Any]]:
    """Return the name of the server to add, and its entry in mcp.json."""
    try:
        name, *words = shlex.split(call.text) or [""]
    except ValueError as exc:
        raise UsageError(f"the command cannot be read: {exc}") from exc
    words = words[words[:1] == ["--"] :]
    if not words:
        raise UsageError(
            "/mcp add needs a name, and an address or a command",
            hint="For example, `/mcp add search https://search.example.org/mcp`.",
        )
    headers = dict(_pair(one, ":", "--header") for one in call.options.header)
    env = dict(_pair(one, "=", "--env") for one in call.options.env)
    if "://" in words[0]:
        server: dict[str, Any] = {"type": "http", "url": words[0], "headers": headers}
        kind, misplaced = "an address", "--env" if env else " ".join(words[1:])
    else:
        server = {"command": words[0], "args": words[1:], "env": env}
        kind, misplaced = "a command", "--header" if headers else ""
    if misplaced:
        raise UsageError(f"{misplaced!r} does not apply to a server with {kind}")
    return name, {key: value for key, value in server.items() if value}


def _pair(text: str, separator: str, option: str) -> tuple[str, str]:
    key, found, value = text.partition(separator)
    if not found or not key.strip():
        raise UsageError(f"{option}: {text[:60]!r} has no {separator!r} after a name")
    return key.strip(), value.strip()


def _overview(found: ServerList, file: Path) -> str:
    lines = []
    if found.servers:
        rows = [(s.name, s.state, len(s.tools), s.written_in, s.problem) for s in found.servers]
        lines.append(table(("server", "state", "tools", "from", ""), rows))
    elif not (found.disabled or found.untrusted or found.problems):
        lines.append(f"No servers. `/mcp add` writes a server to {file}.")
    for one in found.servers:
        if one.tools:
            lines.append(f"{one.name}: {', '.join(tool['name'] for tool in one.tools)}")
    lines += [f"{name} is disabled in its file" for name in found.disabled]
    lines += [f"{path} is not trusted: read it, then `/mcp trust`" for path in found.untrusted]
    return "\n".join([*lines, *(f"left out: {problem}" for problem in found.problems)])
