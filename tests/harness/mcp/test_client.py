"""Servers of mcp.json in a chat: real servers over pipes and on a socket, hostile ones included."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from agent_process import environment_of, start_agent
from agent_workspace import REGISTRY, AgentWorkspace, Producer
from mcp_http import HostileAddress
from protocol_server import ProtocolServer

from harness.chat.toolbox import ALL, BARE, Answer
from harness.cli.app import App
from harness.errors import Interrupted
from harness.mcp import client
from harness.mcp.client import SEARCH, ServerTool, search
from harness.mcp.client_config import Entry, Written
from harness.mcp.client_connection import Server
from harness.models.backend import ToolCall
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.support.stop_token import StopToken
from harness.testing import (
    FakeModel,
    assert_refuses,
    calling,
    fake_app,
    one_shot,
    tool_call,
)

SERVERS = CODE_ROOT / "tests" / "support" / "servers"
OFFICIAL = {"command": sys.executable, "args": [str(SERVERS / "mcp_official.py")]}
LIMIT = 100.0
"""Time limit where none is tested, for a busy machine."""


def hostile(*arguments: object) -> dict[str, Any]:
    """Return the entry of a hostile server."""
    script = str(SERVERS / "mcp_hostile.py")
    return {"command": sys.executable, "args": [script, *map(str, arguments)]}


class Chat:
    """An application with servers, whose user answers questions with `answer`."""

    def __init__(self, folder: Path, seconds: float, servers: dict[str, Any]) -> None:
        self.questions: list[str] = []
        self.answer = "yes"
        self.model = FakeModel("fine", takes_tools=True)
        frontend = Frontend("test", choose=self._choose)
        self.app: App = fake_app(folder, self.model, door=frontend)
        self.app.settings = replace(self.app.settings, mcp_deadline=seconds)
        self.write(servers)

    def write(self, servers: dict[str, Any]) -> None:
        self.app.settings.mcp_file.write_text(json.dumps({"mcpServers": servers}))

    def server(self, name: str) -> Server:
        """Return a server that is ready or has failed."""
        servers = self.app.mcp_servers
        servers.start()
        [found] = [one for one in servers.servers if one.entry.name == name]
        found.wait(LIMIT)
        return found

    def call(self, tool: str, **arguments: Any) -> tuple[Answer, dict[str, Any]]:
        """Call a tool as a model does; return its answer and the content of that."""
        if tool != SEARCH:
            self.server(tool.partition("__")[0])
        answer = self.app.toolbox.call(tool_call(tool, **arguments), self.app.screen)
        return answer, json.loads(answer.content)

    @property
    def err(self) -> str:
        return str(self.app.screen.err.getvalue())  # type: ignore[attr-defined]

    def _choose(self, question: str, answers: Sequence[str]) -> str:
        self.questions.append(question)
        [chosen] = [one for one in answers if one.startswith(self.answer)]
        return chosen


Make = Callable[..., Chat]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def new(seconds: float = LIMIT, **servers: Any) -> Chat:
        made.append(Chat(tmp_path, seconds, servers))
        return made[-1]

    yield new
    for chat in made:
        chat.app.close()


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_a_model_calls_a_tool_whose_schema_is_whole(tmp_path: Path, protocol: str) -> None:
    """Nested arguments, over pipes to the server and a socket to the model."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "mcp.json").write_text(json.dumps({"mcpServers": {"maps": OFFICIAL}}))
    arguments = {"start": {"name": "Ur", "position": [1, 2]}, "end": {"name": "Uruk"}}
    with ProtocolServer(names=("smollm2",)) as server:
        server.model = Producer(calling(tool_call("maps__distance", **arguments)), "6 km")
        agent = AgentWorkspace(tmp_path, server, protocol, 16384)
        agent.use_frontend(lambda question: True)
        agent.app.mcp_servers.start()
        [maps] = agent.app.mcp_servers.servers
        maps.wait(LIMIT)
        try:
            assert agent.run("how far is Uruk?") == 0
            [result] = server.model.tool_results()
            assert result == {"exit_code": 0, "result": {"kilometers": 6.0}}
            sent = {tool["function"]["name"]: tool["function"] for tool in agent.chats[0]["tools"]}
            schema = sent["maps__distance"]["parameters"]
            assert schema == maps.tools["maps__distance"].input_schema
            assert schema["$defs"]["Place"]["properties"]["position"]["anyOf"][0]["maxItems"] == 2
            assert sent["maps__distance"]["description"].startswith("Measure the distance")
        finally:
            agent.app.close()


def test_a_server_on_a_socket(make: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = [sys.executable, str(SERVERS / "mcp_official.py"), "http", str(port)]
    with subprocess.Popen(script, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + LIMIT
            while time.monotonic() < until:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            url = f"http://127.0.0.1:{port}/mcp"
            chat = make(web={"type": "http", "url": url, "headers": {"X-Key": "secret"}})
            assert chat.call("web__count", to=3)[1] == {"exit_code": 0, "result": {"result": "3"}}
            assert chat.call("web__header", key="x-key")[1]["result"] == {"result": "secret"}
        finally:
            process.kill()
    answer, content = chat.call("web__count", to=3)
    assert answer.code == 1
    assert content["error"].startswith("web")


def test_the_environment_is_passed_explicitly(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("TOKEN", "token")
    chat = make(maps={**OFFICIAL, "env": {"GIVEN": "${TOKEN}"}})
    names = chat.call("maps__environment")[1]["result"]["result"]
    assert {"PATH", "HOME", "GIVEN"} <= set(names)
    assert {"OPENAI_API_KEY", "TOKEN"}.isdisjoint(names)
    assert chat.call("maps__variable", key="GIVEN")[1]["result"]["result"] == "token"


def test_consent_shows_the_call_and_is_kept_for_the_tool_as_it_is(make: Make) -> None:
    chat = make(bad=hostile())
    chat.answer = "no"
    answer, content = chat.call("bad__change", path="/etc")
    assert answer.code == 2
    assert "did not allow" in content["error"]
    [question] = chat.questions
    assert "mcp_hostile.py" in question
    assert '"path": "/etc"' in question
    assert "bad__change" in question
    chat.answer = "always"
    assert chat.call("bad__fail")[0].code == 1
    [failed, refused] = chat.app.run_log.recent(2)
    assert (failed["skill"], failed["status"]) == ("bad__fail", "failed")
    assert (refused["line"], refused["door"]) == ('bad__change {"path": "/etc"}', "model")
    assert chat.call("bad__fail")[0].code == 1
    assert len(chat.questions) == 2, "the answer holds"
    assert chat.call("bad__change")[0].code == 0
    assert len(chat.questions) == 3
    wait_for(lambda: "bad__new" in chat.server("bad").tools)
    assert chat.call("bad__change")[0].code == 0
    assert len(chat.questions) == 4, "the definition has changed since the answer"


def test_consent_names_the_skill_in_use(make: Make) -> None:
    chat = make(bad=hostile())
    folder = chat.app.settings.own_skills / "careful"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: careful\ndescription: Be it.\n---\nFail.\n")
    chat.app.reload()
    chat.server("bad")
    chat.model.replies = (calling(tool_call("bad__fail")), "failed")
    one_shot(chat.app, "/careful please")
    [question] = chat.questions
    assert "/careful wants to call bad__fail" in question


def test_consent_does_not_hold_for_another_server_of_the_name(make: Make) -> None:
    chat = make(bad=hostile())
    chat.answer = "always"
    chat.call("bad__fail")
    chat.write({"bad": hostile("other")})
    one_shot(chat.app, "/reload")
    chat.call("bad__fail")
    assert len(chat.questions) == 2


def test_results_are_bounded_data(make: Make) -> None:
    chat = make(bad=hostile())
    big, content = chat.call("bad__big")
    assert len(big.content) < 5000
    assert content["result"].endswith("characters more)")
    _, content = chat.call("bad__flood")
    assert content["result"] == "flooded"
    answer, content = chat.call("bad__fail")
    assert answer.code == content["exit_code"] == 1
    assert content["error"].endswith("such thing")
    assert "\x1b" not in answer.content
    described = chat.app.mcp_servers.tools()
    [ansi] = [tool.described(ALL) for tool in described if tool.name == "bad__ansi"]
    assert ansi.description == "Clear[2J]0;owned the screen."
    assert "\x1b" not in one_shot(chat.app, "/mcp bad").out


def test_wrong_arguments_are_answered(make: Make) -> None:
    chat = make(bad=hostile())
    chat.server("bad")
    for arguments in ("[1]", "{", "3"):
        answer = chat.app.toolbox.call(ToolCall("bad__fail", arguments), chat.app.screen)
        assert answer.code == 2
        assert "JSON" in answer.content
    assert chat.questions == []


def test_a_call_that_hangs_is_given_up_and_the_server_stays(make: Make) -> None:
    chat = make(bad=hostile())
    chat.server("bad")._seconds = 0.5
    _, content = chat.call("bad__hang")
    assert "not answered within 0.5 s" in content["error"]
    assert chat.call("bad__progress", seconds=1.5)[1]["result"] == "done", "progress is life"
    _, content = chat.call("bad__progress", seconds=60)
    assert "not answered" in content["error"], "but not for ever"


def test_a_call_ends_when_the_line_is_cancelled(make: Make) -> None:
    server = make(bad=hostile()).server("bad")
    cancel = StopToken()
    timer = threading.Timer(0.3, cancel.request_stop)
    timer.start()
    with pytest.raises(Interrupted):
        server.call("hang", {}, cancel, lambda progress: None)
    timer.join()
    assert server.call("fail", {}, StopToken(), lambda progress: None).is_error


def test_the_command_waits_for_a_slow_server(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WAIT", 0.01)
    chat = make(slow=hostile())
    chat.app.mcp_servers.start(0.01)
    assert chat.err.count("mcp servers not started yet: slow;") == 1
    assert "slow    ready" in one_shot(chat.app, "/mcp").out


@pytest.mark.parametrize(
    ("tool", "reason"), [("die", "out of luck"), ("endless", "a line of more than 3 MB")]
)
def test_a_server_that_ends_in_a_call_costs_itself_alone(
    make: Make, tool: str, reason: str
) -> None:
    chat = make(bad=hostile(), good=hostile())
    chat.server("good")
    answer, content = chat.call(f"bad__{tool}")
    assert answer.code == 1
    assert reason in content["error"]
    assert chat.call("good__fail")[1]["error"].startswith("no")
    names = {tool.name for tool in chat.app.toolbox.tools(100_000)}
    assert "good__big" in names
    assert "bad__big" not in names
    assert chat.err.count("mcp server bad: ") == 1, "one notice"


BROKEN = {
    "babble": (hostile("babble"), "has not started within 10 s; it wrote: Content-Length: 52"),
    "noise": (hostile("noise"), "it wrote: noise noise noise"),
    "silent": (hostile("silent"), "has not started within 10 s"),
    "crash": (hostile("crash"), "it wrote: cannot find my configuration"),
    "nowhere": ({"command": "no-such-command"}, "there is no command 'no-such-command'"),
    "unset": (
        {"command": sys.executable, "env": {"A": "${UNSET}"}},
        "variable UNSET, which is not set",
    ),
    "text": ({"command": str(CODE_ROOT / "README.md")}, "there is no command"),
    "closed": ({"url": "http://127.0.0.1:9/mcp"}, "attempts failed"),
}
"""Servers that do not start, with the reason that is shown."""


def test_servers_that_do_not_start_do_not_affect_others(make: Make) -> None:
    chat = make(10.0, good=hostile(), **{name: entry for name, (entry, _) in BROKEN.items()})
    assert chat.server("good").state == "ready"
    bad = {name: chat.server(name) for name in BROKEN}
    chat.app.mcp_servers.start()
    chat.app.mcp_servers.start()
    for name, (_, reason) in BROKEN.items():
        assert (bad[name].state, bad[name].tools) == ("failed", {}), name
        assert reason in bad[name].problem
        assert chat.err.count(f"mcp server {name}: ") == 1, "one notice"
    assert chat.call("good__fail")[0].code == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("huge", "more than 3 MB"),
        ("compressed", "compresses its answers"),
        ("html", "text/html"),
        ("unauthorized", "HTTP 401"),
        ("broken", "HTTP 500 Internal Server Error"),
        ("redirect", "Redirect to"),
    ],
)
def test_a_hostile_address_costs_itself_alone(make: Make, kind: str, reason: str) -> None:
    with HostileAddress(kind) as address:
        chat = make(bad={"url": address.url}, good=hostile())
        bad = chat.server("bad")
        assert bad.state == "failed"
        assert reason in bad.problem
        assert chat.server("good").state == "ready"
        assert address.leaked == []


def test_a_server_has_failed_before_its_loop_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = threading.Event()

    async def lose_connection(server: Server, mode: str) -> None:
        server.state = "ready"
        asyncio.get_running_loop().run_in_executor(None, end.wait)  # delays the end of the loop
        raise ConnectionError("the connection was lost")

    monkeypatch.setattr(Server, "_connect", lose_connection)
    server = Server(Entry("lost", "mcp.json:1", Written(command="x")), tmp_path, LIMIT)
    try:
        server.wait(10)
        assert (server.state, server.problem) == ("failed", "the connection was lost")
    finally:
        end.set()
        server.join(LIMIT)


def test_a_server_that_requires_a_token_is_answered_with_what_to_do(make: Make) -> None:
    with HostileAddress("unauthorized") as address:
        chat = make(bad={"url": address.url})
        chat.server("bad")
        shown = one_shot(chat.app, "/mcp bad").out
    assert '"headers": {"Authorization": "Bearer ${TOKEN}"}' in shown
    assert "does not sign in by OAuth" in shown


def test_a_server_that_ends_at_an_unknown_first_request_is_started_again(make: Make) -> None:
    assert make(old=hostile("first")).server("old").state == "ready"


def test_names_that_models_take(make: Make) -> None:
    server = make(bad=hostile("names")).server("bad")
    assert [*server.tools] == [
        "bad__a_b",
        f"bad__{'x' * 50}_efdfd9ee",
        "bad________etc",
        "bad___",
        "bad____",
    ]
    assert "its tool a_b has the name of another tool" in server.problem
    assert "its tool huge is too large" in server.problem
    assert "its tool tasks requires tasks of the protocol" in server.problem


def test_many_tools_are_found_by_search(make: Make) -> None:
    chat = make(many=hostile("many", 300), few=hostile())
    chat.server("many")
    chat.server("few")
    chat.model.replies = (
        calling(tool_call(SEARCH, query="pay an invoice")),
        calling(tool_call("many__op_7", value="x")),
        "done",
    )
    assert one_shot(chat.app, "pay it").out.endswith("done\n")
    offered = [{tool.name: tool for tool in one.tools} for one in chat.model.requests]
    assert all(len(one) <= 128 for one in offered)
    assert [SEARCH in one for one in offered] == [True, True, True]
    assert ["many__op_7" in one for one in offered] == [False, True, True]
    assert "many__op_8" not in offered[2]
    assert offered[0].keys() >= {"annotate", "corpus"}, "built-in skills stay"
    assert "many (300 tools), few (10 tools)" in offered[0][SEARCH].description
    listed, called = [
        json.loads(one.content) for one in chat.model.requests[2].messages if one.role == "tool"
    ]
    [found] = listed["callable_now"]
    assert found["parameters"] == offered[1]["many__op_7"].parameters
    assert called["result"].startswith("called op_7")
    _, content = chat.call(SEARCH, query="things")
    names = [one["name"] for one in content["callable_now"]]
    assert names == [f"many__op_{n}" for n in range(11) if n != 7]
    assert ["parameters" in one for one in content["callable_now"]] == [True] * 6 + [False] * 4
    _, content = chat.call(SEARCH, query="zebra")
    assert content["error"] == "no tool matches"


def test_few_tools_are_offered_whole(make: Make) -> None:
    chat = make(few=hostile())
    chat.server("few")
    names = [tool.name for tool in chat.app.toolbox.tools(100_000)]
    assert "few__big" in names
    assert SEARCH not in names
    small = [tool.name for tool in chat.app.toolbox.tools(2000)]
    assert SEARCH in small
    assert not [name for name in small if name.startswith("few__")]


def test_the_best_match_is_first(make: Make) -> None:
    chat = make(bad=hostile())
    chat.server("bad")
    tools = chat.app.mcp_servers.tools()

    def found(query: str) -> list[str]:
        return [tool.tool.name for tool in search(tools, query)]

    assert found("Report errors")[0] == "fail"
    assert found("die")[0] == "die"
    assert found("") == found("?!") == []
    first = tools[0]
    described = replace(first, tool=first.tool.model_copy(update={"description": "It is here."}))
    assert search([described], "is") == search([described], "it") == []
    assert search([described], "here") == [described]
    assert all(tool.described(BARE) == tool.described(ALL) for tool in tools)
    assert isinstance(tools[0], ServerTool)


def test_the_project_is_asked_about_and_trusted_by_command(make: Make) -> None:
    chat = make(mine=hostile())
    path = chat.app.settings.project_dir / ".mcp.json"
    path.write_text(json.dumps({"mcpServers": {"its": hostile()}}))
    shown = one_shot(chat.app, "/mcp")
    notice = f"{path} is not trusted: read it, then `/mcp trust`"
    assert notice in shown.out
    assert notice in shown.err
    assert "its" not in [server.entry.name for server in chat.app.mcp_servers.servers]
    assert "trusted in the current state" in one_shot(chat.app, "/mcp trust").out
    assert chat.server("its").state == "ready"
    path.write_text(json.dumps({"mcpServers": {"its": hostile("changed")}}))
    assert notice in one_shot(chat.app, "/reload", "/mcp").out


def test_mcp_shows_servers_state_and_tools(make: Make) -> None:
    chat = make(
        bad={"command": "no-such-command"}, good=hostile(), off={**OFFICIAL, "disabled": True}
    )
    chat.server("good")
    where = chat.app.settings.mcp_file
    out = one_shot(chat.app, "/mcp").out
    bad_row, good_row = [line.split() for line in out.splitlines() if f"{where}:1" in line]
    assert bad_row[:3] == ["bad", "failed", "0"]
    assert good_row[:3] == ["good", "ready", "10"]
    assert "good: good__big, good__hang" in out
    assert "off is disabled in its file" in out
    assert "Return 2 MB." in one_shot(chat.app, "/mcp good").out
    data = json.loads(one_shot(chat.app, "/mcp --json").out)
    assert data["servers"][1]["tools"][0]["parameters"]["type"] == "object"
    assert "there is no server 'god'. Did you mean good?" in one_shot(chat.app, "/mcp god").err


def test_servers_are_added_and_deleted_by_command(make: Make) -> None:
    chat = make()
    command = f"{sys.executable} {SERVERS / 'mcp_official.py'}"
    added = one_shot(chat.app, f"/mcp add --env GIVEN=1 -- maps {command} --flag")
    assert added.out.startswith(f"maps ({command} --flag) is written to")
    assert chat.server("maps").state == "ready"
    assert chat.call("maps__variable", key="GIVEN")[1]["result"] == {"result": "1"}
    url = "https://search.example.org/mcp"
    one_shot(chat.app, f'/mcp add search -- {url} --header "Authorization: Bearer ${{KEY}}"')
    content = json.loads(chat.app.settings.mcp_file.read_text())["mcpServers"]
    assert content["search"] == {
        "type": "http",
        "url": url,
        "headers": {"Authorization": "Bearer ${KEY}"},
    }
    assert "maps is deleted" in one_shot(chat.app, "/mcp remove maps").out
    assert "maps" not in [server.entry.name for server in chat.app.mcp_servers.servers]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("add", "needs a name"),
        ("add maps", "needs a name, and an address or a command"),
        ("add maps 'npx", "No closing quotation"),
        ("add maps npx --header A:b", "'--header' does not apply to a server with a command"),
        (
            "add maps https://example.org --env A=b",
            "'--env' does not apply to a server with an address",
        ),
        ("add maps https://example.org more", "'more' does not apply to a server with an address"),
        ("add maps ftp://example.org", "is not http or https"),
        ("add maps npx --env A", "has no '='"),
        ("remove", "/mcp remove needs a name"),
    ],
)
def test_wrong_changes_of_the_servers_are_explained(make: Make, line: str, problem: str) -> None:
    assert_refuses(make().app, f"/mcp {line}", problem)


def test_without_the_extra_a_notice_names_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = make(good=hostile())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    shown = one_shot(chat.app, "hello")
    assert shown.out.endswith("fine\n")
    assert 'pip install "nanda-harness[mcp]"' in shown.err
    assert shown.err.count("nanda-harness[mcp]") == 1


def test_malformed_file_is_one_notice(make: Make) -> None:
    chat = make()
    chat.app.settings.mcp_file.write_text("{\n,")
    shown = one_shot(chat.app, "hello", "hello again")
    assert shown.err.count(f"{chat.app.settings.mcp_file}:2: it is not JSON") == 1
    assert shown.out.count("fine") == 2


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process that a failed test leaves: its pipes would be a warning in another test."""
    try:
        yield
    finally:
        process.kill()


def gone(pids: Sequence[int]) -> bool:
    """Return True if the processes have ended; one that nobody has waited for yet counts."""
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def pids_in(path: Path) -> list[int]:
    wait_for(lambda: path.exists() and len(path.read_text().split()) == 2)
    return [int(pid) for pid in path.read_text().split()]


def test_nothing_is_left_of_a_server_that_ignores_its_end(make: Make, tmp_path: Path) -> None:
    chat = make(bad=hostile("deaf", tmp_path / "pids"))
    chat.server("bad")
    pids = pids_in(tmp_path / "pids")
    assert not gone(pids)
    chat.app.close()
    wait_for(lambda: gone(pids))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_if_the_command_is_interrupted_or_killed(
    tmp_path: Path, end: signal.Signals
) -> None:
    if end == signal.SIGKILL and shutil.which("setpriv") is None:
        pytest.skip("needs setpriv of util-linux")
    (tmp_path / "config").mkdir()
    servers = {"bad": hostile("deaf", tmp_path / "pids")}
    (tmp_path / "config" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    with ProtocolServer(names=("smollm2",)) as server:
        server.model = Producer(calling(tool_call("bad__hang")), "never")
        registry = REGISTRY.format(backend="ollama", url=server.url, context=16384)
        (tmp_path / "registry.yaml").write_text(registry)
        agent = start_agent(tmp_path, "/chat --yes do it", environment_of(tmp_path))
        with agent as process, ended(process):
            pids = pids_in(tmp_path / "pids")
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("-> bad__hang"):
                    break
            else:
                pytest.fail("the tool was not called")
            time.sleep(0.3)
            process.send_signal(end)
            _, err = process.communicate(timeout=60)
    if end == signal.SIGINT:
        assert process.returncode == 130, err
        wait_for(lambda: gone(pids))
    else:
        # setpriv ends the server. The child of the server ignores the end of its input.
        wait_for(lambda: gone(pids[:1]))
        os.kill(pids[1], signal.SIGKILL)
