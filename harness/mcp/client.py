"""Offer a model the tools of the MCP servers in mcp.json, or a tool that finds these tools."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.chat import toolbox
from harness.chat.tool_loop import CURRENT
from harness.chat.toolbox import ALL, ChatTool, PreparedCall, arguments_of, compact, logged, string
from harness.errors import NothingFound, SkillFailed, UsageError
from harness.mcp import client_config
from harness.mcp.client_connection import Server
from harness.models.backend import Tool, ToolCall
from harness.permissions import Permission
from harness.runs.run_log import Run
from harness.support.process import require
from harness.support.stop_token import StopToken
from harness.terminal.console import Screen

if TYPE_CHECKING:
    from mcp import types

    from harness.cli.app import App

SEARCH = "search_mcp_tools"
QUERY = "query"
RESULTS = 10
"""Maximum number of tools that a search returns."""
BLOCKS = 100
"""Maximum number of content blocks that the model receives from the result of a call."""
_WORD = re.compile(r"[^\W_]+")
_LITTLE = {"a", "an", "and", "for", "from", "i", "in", "it", "my", "of", "on", "or", "the", "to"}
"""Words of a query that are ignored, since most descriptions of tools contain them.

They lack a final "s", like all compared words: "i" also stands for "is".
"""
WAIT = 10.0
"""Maximum number of seconds that a chat waits for servers to start. The tools of slower servers are
added later.
"""
FOUND = 20
"""Maximum number of found tools that are offered; the most recently found tools are kept."""


@dataclass(frozen=True, slots=True)
class ServerTool:
    """A tool of an MCP server, in the form in which the chat offers tools.

    Args:
        name: the tool's name in the chat.
        app: the application, which checks permissions and logs calls.
    """

    name: str
    server: Server
    tool: types.Tool
    app: App

    @property
    def subject(self) -> str:
        """The tool's name in permissions, with a digest of the definitions of server and tool.

        After a change of a definition, the user must therefore permit the tool again. The
        annotations of the tool are not part of the digest, since they are unverified claims of the
        server.
        """
        tool = self.tool
        defined = [self.server.entry.digest, tool.name, tool.description, tool.input_schema]
        digest = hashlib.sha256(json.dumps(defined, sort_keys=True).encode()).hexdigest()
        return f"{self.name} ({digest[:12]})"

    def described(self, level: int) -> Tool:
        """Return the whole tool at every level, since a model cannot use a part of a schema."""
        schema = {"properties": {}, **self.tool.input_schema, "type": "object"}
        about = self.tool.description or self.tool.title or ""
        printable = "".join(c for c in about if c.isprintable() or c in "\n\t")
        return Tool(self.name, printable, schema)

    def prepared(self, call: ToolCall) -> PreparedCall:
        arguments = arguments_of(call)
        line = f"{self.name} {call.arguments.strip() or '{}'}"

        def work(screen: Screen, run: Run) -> tuple[str, int]:
            with logged(self.app, run, self.name, line, arguments):
                result = self._run(arguments, screen, run)
            return compact({"exit_code": 0, "result": result}), 0

        return PreparedCall(line, work)

    def _run(self, arguments: dict[str, Any], screen: Screen, run: Run) -> Any:
        """Call the tool with the user's permission, and return the shortened result.

        Raises:
            SkillFailed: the tool reports an error.
            HarnessError: raised by `Server.call` or `Permissions.check`.
        """
        shown = json.dumps(arguments, ensure_ascii=False, indent=1)
        detail = f"{self.server.entry.place}\n{self.tool.name} {shown}"
        turn = CURRENT.get()
        skills = [*turn.skills.folders] if turn else []
        skill = skills[-1] if skills else ""
        run.allow(self.app.permissions.check(Permission("mcp", self.subject, detail, skill)))
        cancel = StopToken(self.app.caller.cancel)
        with screen.progress(self.name) as ticker:
            result = self.server.call(self.tool.name, arguments, cancel, ticker)
        data = result.structured_content
        if data is None or result.is_error:
            data = "\n".join(_text(block) for block in result.content[:BLOCKS])
        data = toolbox.shortened(data)
        if result.is_error:
            raise SkillFailed(str(data) or f"{self.tool.name} has failed")
        return data


@dataclass(frozen=True, slots=True)
class SearchTool:
    """A tool that finds tools of MCP servers by words; the model can then call the found tools.

    Args:
        app: the application, which logs calls.
        tools: the tools that are searched.
        found: called with the names of the found tools, which are then offered to the model.
    """

    app: App
    tools: Sequence[ServerTool]
    found: Callable[[Sequence[str]], None]
    name: str = SEARCH

    def described(self, level: int) -> Tool:
        counts = Counter(tool.server.entry.name for tool in self.tools)
        servers = ", ".join(f"{name} ({n} tool{'s' * (n != 1)})" for name, n in counts.items())
        about = (
            f"Find tools of the servers {servers}. The tools found can be called in the next step."
        )
        query = {"type": "string", "description": "words for what the tool should do, in English"}
        return Tool(
            SEARCH, about, {"type": "object", "properties": {QUERY: query}, "required": [QUERY]}
        )

    def prepared(self, call: ToolCall) -> PreparedCall:
        query = string(arguments_of(call), QUERY)
        line = f"{SEARCH} {call.arguments.strip()}"

        def work(screen: Screen, run: Run) -> tuple[str, int]:
            with logged(self.app, run, SEARCH, line, {QUERY: query}):
                found = search(self.tools, query)
                if not found:
                    raise NothingFound("no tool matches", hint="Try other or fewer words.")
                self.found([tool.name for tool in found])
            listed, left = [], toolbox.CHARACTERS
            for tool in found:  # once the limit is reached, only the names are listed
                entry = asdict(tool.described(ALL))
                left -= len(compact(entry))
                listed.append(entry if left > 0 else {"name": tool.name})
            return compact({"exit_code": 0, "callable_now": listed}), 0

        return PreparedCall(line, work)


def search(tools: Sequence[ServerTool], query: str) -> list[ServerTool]:
    """Return the tools that match words of the query, best match first.

    Names, titles and descriptions are searched. Rare words count more than frequent words, and
    words of a name count twice. At most `RESULTS` tools are returned.
    """
    texts = [_words(f"{t.name} {t.tool.title or ''} {t.tool.description or ''}") for t in tools]
    weights = {
        word: math.log(1 + len(tools) / frequency)
        for word in _words(query) - _LITTLE
        if (frequency := sum(word in text for text in texts))
    }
    scored = []
    for tool, text in zip(tools, texts, strict=True):
        name = _words(tool.name)
        score = sum(w * (1 + (word in name)) for word, w in weights.items() if word in text)
        scored.append((score, tool))
    best = sorted((one for one in scored if one[0]), key=lambda one: -one[0])
    return [tool for _, tool in best[:RESULTS]]


def _words(text: str) -> set[str]:
    """Return the words of a text in lower case, each without a final "s"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return {word.lower().removesuffix("s") for word in _WORD.findall(spaced)}


def _text(block: Any) -> str:
    """Return the text of a content block, or a short description of a block without text."""
    if block.type == "text":
        return str(block.text)
    if block.type == "resource_link":
        return f"({block.name}: {block.uri})"
    if block.type == "resource":
        return str(getattr(block.resource, "text", f"({block.resource.uri}, not text)"))
    return f"({block.type}, {block.mime_type}, {len(block.data):,} characters, not shown)"


class Servers:
    """The MCP servers of the user and of a trusted project, and the tools of these servers.

    Args:
        app: the application, which checks permissions and logs calls.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.configuration = client_config.Configuration()
        self.servers: list[Server] = []
        self._is_started = False
        self._found: list[str] = []

    def start(self, seconds: float = WAIT) -> None:
        """Start all servers if necessary, and wait at most `seconds` until the servers are ready.

        Late servers and problems are reported to the user. A server that was late in an earlier
        call is waited for only if `seconds` is more than `WAIT`.
        """
        if not self._is_started:
            self._is_started = True
            self._start()
        until = time.monotonic() + seconds
        for server in self.servers:
            if seconds > WAIT or not server.is_late:
                server.wait(max(0.0, until - time.monotonic()))
        late = [one for one in self.servers if one.state == "starting" and not one.is_late]
        if late:
            names = ", ".join(sorted(server.entry.name for server in late))
            self._notice(f"mcp servers not started yet: {names}; their tools join later")
        for server in late:
            server.is_late = True
        for server in self.servers:
            if server.problem and not server.is_reported:
                server.is_reported = True
                self._notice(f"mcp server {server.entry.name}: {server.problem} (/mcp)")

    def tools(self) -> list[ServerTool]:
        """Return the tools of all running servers; start the servers if necessary."""
        self.start()
        return [
            ServerTool(name, server, tool, self._app)
            for server in self.servers
            for name, tool in server.tools.items()
        ]

    def searched(self) -> list[ChatTool]:
        """Return the search tool, followed by the tools that its searches have found."""
        tools = self.tools()
        by_name = {tool.name: tool for tool in tools}
        found = [by_name[name] for name in self._found if name in by_name]
        return [SearchTool(self._app, tools, self._remember), *found]

    def close(self, seconds: float) -> None:
        """Stop all servers; after `seconds`, kill the servers that still run."""
        servers, self.servers = self.servers, []
        self._is_started = False
        until = time.monotonic() + seconds
        for server in servers:
            server.request_stop()
        try:
            for server in servers:
                server.join(max(0.0, until - time.monotonic()))
        finally:  # the servers are killed even after another Ctrl-C
            if servers:
                from harness.mcp.client_transport import kill_all

                kill_all()

    def _start(self) -> None:
        found = self.configuration = client_config.read(self._app.settings)
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
        import mcp  # noqa: F401 imported here once, not in every thread

        settings = self._app.settings
        folder, seconds = settings.project_dir, settings.mcp_deadline
        self.servers = [Server(entry, folder, seconds) for entry in entries]

    def _notice(self, text: str) -> None:
        self._app.caller.screen.notice(text)

    def _remember(self, names: Sequence[str]) -> None:
        self._found = [*names, *(name for name in self._found if name not in names)][:FOUND]
