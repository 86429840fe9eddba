"""All servers of mcp.json: started when a chat first needs their tools, stopped at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence

from harness.chat.sources.call_log import Host
from harness.chat.tools import ChatTool
from harness.errors import UsageError
from harness.mcp import client_config
from harness.mcp.client_server import Server
from harness.mcp.client_tools import SearchTool, ServerTool
from harness.settings import Settings
from harness.support.optional_deps import require

WAIT = 10.0
"""Seconds that a chat waits for servers that start; their tools join later."""
FOUND = 20
"""Tools found by search that are offered, the newest first."""


class Servers:
    """The servers of the user and of a trusted project, as a source of tools.

    Args:
        host: as of `ServerTool`.
    """

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings, self._host = settings, host
        self.configuration = client_config.Configuration()
        self.servers: list[Server] = []
        self._is_started = False
        self._reported: set[str] = set()
        self._late: set[str] = set()
        self._found: list[str] = []

    def start(self, seconds: float = WAIT) -> None:
        """Start all servers, once, and wait at most `seconds` until they are ready."""
        if not self._is_started:
            self._is_started = True
            self._start()
        self._wait(seconds)
        for server in self.servers:
            if server.problem and server.entry.name not in self._reported:
                self._reported.add(server.entry.name)
                self._notice(f"mcp server {server.entry.name}: {server.problem} (/mcp)")

    def tools(self) -> list[ServerTool]:
        """Return the tools of all servers that run, which are started if they are not yet."""
        self.start()
        return [
            ServerTool(name, server, tool, self._host)
            for server in self.servers
            for name, tool in server.tools.items()
        ]

    def searched(self) -> list[ChatTool]:
        """Return the search for tools, and the tools that it has found."""
        tools = self.tools()
        by_name = {tool.name: tool for tool in tools}
        found = [by_name[name] for name in self._found if name in by_name]
        return [SearchTool(self._host, tools, self._remember), *found]

    def close(self, seconds: float) -> None:
        """Stop all servers; those that take longer are killed."""
        servers, self.servers = self.servers, []
        self._is_started = False
        self._reported.clear()
        self._late.clear()
        until = time.monotonic() + seconds
        for server in servers:
            server.request_stop()
        try:
            for server in servers:
                server.join(max(0.0, until - time.monotonic()))
        finally:  # also after another Ctrl-C
            if servers:
                from harness.mcp.client_transport import kill_all

                kill_all()

    def _start(self) -> None:
        found = self.configuration = client_config.read(self._settings)
        for error in found.problems:
            self._notice(f"mcp server left out: {error}")
        for path in found.untrusted:
            self._notice(f"{path} is not trusted: read it, then `/mcp trust`")
        entries = [entry for entry in found.entries if not entry.written.disabled]
        if not entries:
            return
        try:
            require("mcp", extra="mcp")
        except UsageError as error:
            self._notice(f"the servers of mcp.json are not used: {error}")
            return
        import mcp  # noqa: F401  once, not in every thread

        seconds = self._settings.mcp_deadline
        self.servers = [Server(entry, self._settings.project_dir, seconds) for entry in entries]

    def _wait(self, seconds: float) -> None:
        """Wait for servers that start, each only once for `WAIT`, unless for longer."""
        starting = [server for server in self.servers if server.state == "starting"]
        until = time.monotonic() + seconds
        for server in starting:
            if server.entry.name not in self._late or seconds > WAIT:
                server.wait(max(0.0, until - time.monotonic()))
        late = {server.entry.name for server in starting if server.state == "starting"}
        if late - self._late:
            names = ", ".join(sorted(late - self._late))
            self._notice(f"mcp server {names} has not started yet; its tools join later")
        self._late = late

    def _notice(self, text: str) -> None:
        self._host.caller.screen.notice(text)

    def _remember(self, names: Sequence[str]) -> None:
        self._found = [*names, *(name for name in self._found if name not in names)][:FOUND]
