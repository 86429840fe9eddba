"""`agent.py mcp`, driven by the official client in both revisions."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import jsonschema
import pytest
from agent_process import environment_of
from mcp import Client, MCPError
from mcp_session import command, connected, make_project

from harness.api.skill import Skill
from harness.errors import HarnessError, UsageError
from harness.mcp import server_calls
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen

REVISIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}
both = pytest.mark.parametrize("mode", REVISIONS)
Session = Callable[..., None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def run(work: Callable[[], Awaitable[None]]) -> None:
    anyio.run(work)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await anyio.sleep(0.05)


def content(result: Any) -> dict[str, Any]:
    found = result.structured_content
    assert isinstance(found, dict)
    return found


async def accept(question: str) -> bool:
    return True


async def refuse(question: str) -> bool:
    return False


@both
def test_skills_are_tools_prompts_and_resources(project, mode):
    async def work():
        async with connected(project, mode) as client:
            assert client.protocol_version == REVISIONS[mode]
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            prompts = (await client.list_prompts()).prompts
            prompt = await client.get_prompt("tidy", {"text": "A very long text."})
            placed = await client.get_prompt("shorten", {"text": "a text"})
            with pytest.raises(MCPError, match="/silent has no instructions"):
                await client.get_prompt("silent")
            templates = (await client.list_resource_templates()).resource_templates
            with pytest.raises(MCPError, match="Unknown prompt: untidy"):
                await client.get_prompt("untidy")
        assert {"annotate", "corpus", "corpus_read", "rows", "rows_read"} <= tools.keys()
        assert not {"tidy", "chat", "help", "exit"} & tools.keys()
        for tool in tools.values():
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            jsonschema.Draft202012Validator.check_schema(tool.output_schema)
        hints = {
            name: (tool.annotations.read_only_hint, tool.annotations.destructive_hint)
            for name, tool in tools.items()
        }
        assert hints["rows_read"] == (True, None)
        assert hints["rows"] == hints["annotate"] == hints["models"] == (False, False)
        assert hints["finetune"] == (False, True)
        assert tools["rows"].input_schema["properties"]["rows"] == {"type": "integer"}
        assert "save_to" in tools["rows"].input_schema["properties"]
        reading = tools["rows_read"].input_schema["properties"]
        assert reading["subcommand"]["enum"] == ["look"]
        assert "save_to" not in reading
        assert {prompt.name for prompt in prompts} == {"tidy", "shorten", "silent"}
        text = prompt.messages[0].content.text
        assert "Remove what is not needed." in text
        assert text.endswith("A very long text.")
        assert "Shorten a text by half." in placed.messages[0].content.text
        assert not placed.messages[0].content.text.endswith("a text")
        kinds = [one.uri_template for one in templates]
        assert kinds == ["harness://help/{key}", "harness://corpus/{key}"]

    run(work)


def test_the_list_of_tools_is_short(project):
    async def listed(skills: str = "") -> dict[str, dict[str, Any]]:
        async with connected(project, "auto", skills=skills) as client:
            result = await client.list_tools()
            data = result.model_dump(mode="json", by_alias=True, exclude_none=True)
            assert 1_000 < len(json.dumps(data)) < 30_000
            return {tool["name"]: tool for tool in data["tools"]}

    def described(tool: dict[str, Any]) -> int:
        return str(tool["inputSchema"]).count("'description'")

    async def work():
        tools = await listed()
        assert {"epochs", "save_to"} <= tools["finetune"]["inputSchema"]["properties"].keys()
        assert "harness://help/finetune" in tools["finetune"]["description"]
        chosen = await listed("rows, finetune")
        assert chosen.keys() == {"rows", "rows_read", "finetune"}
        assert described(chosen["finetune"]) > described(tools["finetune"])

    run(work)


@pytest.mark.model
@pytest.mark.usefixtures("model_files")
def test_help_describes_the_options_and_the_annotation(tmp_path):
    (tmp_path / "registry.yaml").write_text("version: 1\n")
    abstract = (
        "We study why bridges hum in the wind. A model of forty cables shows that the pitch "
        "depends on tension alone. Only steel was tested."
    )

    async def work():
        async with connected(tmp_path, "auto", "--yes", skills="annotate") as client:
            [tool] = (await client.list_tools()).tools
            result = await client.call_tool("annotate", {"text": abstract, "title": "Humming"})
            [help_] = (await client.list_resources()).resources
            assert help_.uri in tool.description
            [read] = (await client.read_resource(help_.uri)).contents
            whole = json.loads(read.text)
            assert "with --cascade" in whole["inputSchema"]["properties"]["budget"]["description"]
            annotation = content(result)["result"]
            assert annotation["title"] == "Humming"
            for schema in (tool.output_schema, whole["outputSchema"]):
                jsonschema.validate(content(result), schema)
            del annotation["provenance"]
            with pytest.raises(jsonschema.ValidationError, match="provenance"):
                jsonschema.validate(content(result), whole["outputSchema"])

    run(work)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--skills", "anotate"], "there is no skill /anotate. Did you mean /annotate?"),
        (["--skills=annotate,exit"], "/exit is not offered to agents. Choose from models, ann"),
        (
            ["--skills"],
            "`mcp` cannot be started with --skills. `mcp` has only the option --skills NAME",
        ),
        (["--skills", ""], "`mcp` cannot be started with --skills ''. `mcp` has only the option"),
        (
            ["--skills", "annotate", "corpus"],
            "started with --skills annotate corpus. `mcp` has only",
        ),
        (["--yes"], "`mcp` cannot be started with --yes"),
    ],
)
def test_unknown_skills_and_options_are_refused_before_serving(project, options, message):
    ran = subprocess.run(
        [*command(), *options],
        cwd=project,
        env=environment_of(project),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert message in ran.stderr


@both
def test_a_call_has_progress_a_structured_result_and_its_file(project, mode):
    asked, seen = [], []

    async def progress(done, total, message):
        seen.append((done, total, message))

    async def work():
        async def allow(question: str) -> bool:
            return not asked.append(question)

        async with connected(project, mode, allow=allow) as client:
            arguments = {"subcommand": "work", "save_to": "out.txt"}
            result = await client.call_tool("rows", arguments, progress_callback=progress)
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            link = result.content[1]
            read = await client.read_resource(link.uri)
            with pytest.raises(MCPError, match="Unknown resource"):
                await client.read_resource((project / "registry.yaml").as_uri())
        assert asked == ["/rows writes out.txt and does rows. Allow it?"]
        assert seen == [(1, 3, "row 1"), (2, 3, "row 2"), (3, 3, "row 3")]
        expected = {"exit_code": 0, "result": {"rows": 3}, "saved": ["out.txt"]}
        assert content(result) == json.loads(result.content[0].text) == expected
        jsonschema.validate(expected, tools["rows"].output_schema)
        assert (link.type, link.name, link.mime_type) == ("resource_link", "out.txt", "text/plain")
        assert read.contents[0].text == "the result"

    run(work)


@both
def test_what_the_user_refuses_does_not_run(project, mode):
    async def work():
        async with connected(project, mode, allow=refuse) as client:
            result = await client.call_tool("rows", {"subcommand": "work"})
        assert result.is_error
        assert "the user did not allow that" in content(result)["error"]

    run(work)
    assert not (project / "done").exists()


@both
def test_without_a_way_to_ask_a_call_is_refused_unless_the_server_has_yes(project, mode):
    async def refused():
        async with connected(project, mode) as client:
            result = await client.call_tool("rows", {"subcommand": "work"})
            assert result.is_error
            assert "agent.py --yes mcp" in content(result)["error"]
            assert not (await client.call_tool("rows", {"subcommand": "look"})).is_error

    async def allowed():
        (project / "mine.txt").write_text("mine")
        async with connected(project, mode, "--yes") as client:
            result = await client.call_tool("rows", {"subcommand": "work", "save_to": "mine.txt"})
            assert "exists" in content(result)["error"]
            result = await client.call_tool("rows", {"subcommand": "work", "save_to": "its.txt"})
            assert content(result)["exit_code"] == 0

    run(refused)
    run(allowed)
    assert (project / "mine.txt").read_text() == "mine"


@both
def test_a_cancelled_call_stops_and_others_are_answered_meanwhile(project, mode):
    async def work():
        async with connected(project, mode, "--yes") as client, anyio.create_task_group() as group:
            endless = {"subcommand": "work", "rows": 1_000_000}
            call = functools.partial(client.call_tool, "rows", endless)
            group.start_soon(call)
            await until((project / "done").exists)
            looked = await client.call_tool("rows_read", {"subcommand": "look"})
            assert content(looked)["result"]["rows"] > 0
            assert (await client.call_tool("models", {})).is_error is False
            assert not (project / "stopped").exists()
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await until((project / "stopped").exists)
                result = await client.call_tool("rows", {"subcommand": "work", "rows": 1})
                assert content(result)["result"] == {"rows": 1}

    run(work)


@pytest.mark.parametrize("impact", ["reads", "adds"])
def test_cancelled_calls_leave_no_threads(impact):
    """Calls that wait for their turn have no thread, and their turn does not come."""
    begun: list[object] = []

    class Waits(Skill):
        name = "waits"
        summary = "Waits until it is cancelled"

        def run(self, call):
            raise AssertionError

    Waits.impact = {"": impact}

    def wait(invocation, line, caller):
        begun.append(caller)
        assert caller.cancel.wait(30)
        caller.cancel.check()

    async def work():
        app = SimpleNamespace(general={}, screen=Screen(), run_called=wait)
        calls, tool = server_calls.Calls(app), server_calls.SkillTool(Waits())
        given = calls, None, tool, tool.invocation({"text": "x"}), bool
        before = threading.active_count()
        for _ in range(2):
            async with anyio.create_task_group() as group:
                for _ in range(300):
                    group.start_soon(server_calls.Calls._run, *given)
                await until(lambda: begun)
                assert threading.active_count() < before + 30
                group.cancel_scope.cancel()
            assert calls.running == 0
            assert 1 <= len(begun) <= server_calls.READS
            begun.clear()

    run(work)


@both
def test_a_call_that_waits_for_the_user_can_be_cancelled(project, mode):
    async def work():
        asked = anyio.Event()

        async def never(question: str) -> bool:
            asked.set()
            await anyio.sleep_forever()
            return True

        async with connected(project, mode, allow=never) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "rows", {"subcommand": "work"})
                await asked.wait()
                group.cancel_scope.cancel()
            looked = await client.call_tool("rows", {"subcommand": "look"})
            assert content(looked)["result"] == {"rows": 0}

    run(work)
    assert not (project / "done").exists()


@both
def test_wrong_calls_are_explained(project, mode):
    async def error(client: Client, name: str, **arguments: Any) -> str:
        result = await client.call_tool(name, arguments)
        assert result.is_error
        assert content(result)["exit_code"] == 2
        return content(result)["error"]

    async def work():
        async with connected(project, mode, allow=refuse) as client:
            with pytest.raises(MCPError, match="Unknown tool: nothing"):
                await client.call_tool("nothing", {})
            assert "--rows" in await error(client, "rows", subcommand="work", rows="many")
            unknown = await error(client, "rows", subcommand="work", row=3)
            assert unknown == "there is no option 'row'. Did you mean rows? Options: rows."
            assert "no subcommand 'play'" in await error(client, "rows", subcommand="play")
            assert "only reads" in await error(client, "rows_read", subcommand="work")
            files = {"subcommand": "look", "save_to": "x.txt"}
            assert "only reads" in await error(client, "rows_read", **files)
            assert "is not text" in await error(client, "annotate", text={"a": 1})
            trust = str(project / "config" / "trusted.json")
            args = {"subcommand": "work", "save_to": f"{trust}.txt"}
            assert "control the harness" in await error(client, "rows", **args)

    run(work)


def test_papers_of_the_corpus_are_resources(project):
    rows = "".join(f"2401.{n:05},Paper {n},{'word ' * 40}\n" for n in range(1, 131))
    (project / "papers.csv").write_text(f"arxiv_id,title,abstract\n{rows}")

    async def work():
        async with connected(project, "auto", "--yes") as client:
            before = (await client.list_resources()).resources
            assert {one.uri.partition("help/")[0] for one in before} == {"harness://"}
            await client.call_tool("corpus", {"subcommand": "add", "text": "papers.csv"})
            first = await client.list_resources(cache_mode="bypass")
            second = await client.list_resources(cursor=first.next_cursor)
            assert (len(first.resources), second.next_cursor) == (100, None)
            assert len(second.resources) == len(before) + 30
            paper = second.resources[-1]
            assert (paper.name, paper.description) == ("Paper 130", "2401.00130")
            [read] = (await client.read_resource(paper.uri)).contents
            assert json.loads(read.text)["arxiv_id"] == "2401.00130"
            for uri in ("corpus/9999", "corpus/x", "rows/1", "help/nothing"):
                with pytest.raises(MCPError):
                    await client.read_resource(f"harness://{uri}")
            with pytest.raises(MCPError, match="Invalid cursor"):
                await client.list_resources(cursor="5")

    run(work)


@pytest.mark.model
@pytest.mark.usefixtures("model_files")
def test_a_table_is_annotated_by_the_embedded_model(tmp_path):
    (tmp_path / "registry.yaml").write_text("version: 1\n")
    table = (CODE_ROOT / "examples" / "gold.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "gold.csv").write_text("\n".join(table[:2]) + "\n", encoding="utf-8")
    asked, seen = [], []

    async def allow(question: str) -> bool:
        return not asked.append(question)

    async def progress(done, total, message):
        seen.append((done, total))

    async def work():
        async with connected(tmp_path, "auto", allow=allow) as client:
            call = functools.partial(
                client.call_tool,
                "annotate",
                {"text": "gold.csv", "save_to": "out.jsonl"},
                read_timeout_seconds=150,
                progress_callback=progress,
            )
            result = await call()
            summary = content(result)["summary"]
            assert (summary["rows"], summary["done"], summary["made"]) == (1, 1, 1)
            assert summary["model"] == "nanda-annotator"
            link = result.content[1]
            [read] = (await client.read_resource(link.uri)).contents
            assert json.loads(read.text)["provenance"]["resolved"] == "nanda-annotator"
            *_, paper = (await client.list_resources()).resources
            shown = await client.call_tool("corpus_read", {"subcommand": "show", "text": "1"})
            [stored] = content(shown)["result"]["papers"]
            assert stored["title"] == paper.name
            again = await call()
            assert content(again)["summary"]["made"] == 0

    run(work)
    assert asked[0] == "/annotate writes out.jsonl. Allow it?"
    assert (seen[0], seen[-1]) == ((0, 1), (1, 1))


def test_the_skill_of_the_guide_works(project):
    folder = project / "config" / "skills" / "notes"
    folder.mkdir()
    (folder / "SKILL.md").write_text("---\nname: notes\ndescription: Keeps notes.\n---\n")
    shutil.copy(CODE_ROOT / "tests" / "data" / "mcp" / "plugin.py", folder)

    async def work():
        async with connected(project, "auto", allow=accept) as client:
            for text in ("one", "two"):
                added = await client.call_tool("notes", {"subcommand": "add", "text": text})
            assert content(added)["result"] == {"notes": 2}
            counted = await client.call_tool("notes_read", {"subcommand": "count"})
            assert content(counted)["result"] == {"notes": 2}
            *_, first, second = (await client.list_resources()).resources
            assert (second.name, second.uri) == ("note 0002", "harness://notes/0002")
            [read] = (await client.read_resource(first.uri)).contents
            assert (read.text, read.mime_type) == ("one", "text/plain")

    run(work)


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
WORK = {"subcommand": "work", "rows": 1_000_000}


def test_stdout_has_the_protocol_alone_and_the_end_of_stdin_ends_a_job(project):
    process = subprocess.Popen(
        command("--yes"),
        cwd=project,
        env=environment_of(project),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    call = {"name": "rows", "arguments": WORK, "_meta": {"progressToken": 7}}
    for message in (
        INITIALIZE,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
    ):
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.stdin.write("no JSON\n")
    out, err = process.communicate()
    lines += map(json.loads, out.splitlines())
    assert lines[0]["id"] == 1
    assert {line.get("method") for line in lines[1:]} <= {"notifications/progress", None}
    assert process.returncode == 0
    assert (project / "stopped").exists()
    assert "a print of a skill" in err
    assert "an output of a child" in err
    assert "Traceback" not in err


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize(
    ("closed", "code", "message"),
    [("< /dev/null", 0, ""), ("<&-", 0, ""), (">&-", 4, "Error: stdout is closed")],
)
def test_without_stdin_or_stdout_the_server_ends(project, closed, code, message):
    ran = subprocess.run(
        f"{shlex.join(command())} {closed}",
        shell=True,
        cwd=project,
        env=environment_of(project),
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (code, "")
    assert ran.stderr.startswith(message)


@pytest.mark.parametrize(
    "text",
    [b'"' + b"x" * 20_000_000 + b'"', b"[" + b"{}," * 90_000 + b"{}]"],
    ids=["long", "many values"],
)
def test_a_message_that_is_too_large_is_refused_unread(project: Path, text: bytes) -> None:
    client = {"protocolVersion": REVISIONS["legacy"], "capabilities": {}}
    client["clientInfo"] = {"name": "test", "version": "1"}
    call = {"name": "rows", "arguments": {"text": "TEXT"}}
    messages = [
        {"id": 1, "method": "initialize", "params": client},
        {"method": "notifications/initialized"},
        {"id": 7, "method": "tools/call", "params": call},
        {"id": 8, "method": "ping"},
    ]
    lines = "".join(f"{json.dumps({'jsonrpc': '2.0', **one})}\n" for one in messages)
    process = subprocess.Popen(
        command(),
        cwd=project,
        env=environment_of(project),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(lines.encode().replace(b'"TEXT"', text))
    process.stdin.flush()
    answers = {
        found["id"]: found for found in (json.loads(process.stdout.readline()) for _ in "123")
    }
    assert "a message of more than 3,000,000 bytes or 60,000 values" in str(answers[7]["error"])
    assert answers[8]["result"] == {}
    process.communicate()
    assert process.returncode == 0


def test_a_long_argument_is_not_repeated_in_full() -> None:
    assert len(str(HarnessError(f"{'x' * 2_000_000} is not text"))) < 11_000


def test_a_missing_extra_is_named(monkeypatch):
    import sys

    from harness.cli.main import _run

    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(UsageError, match=r"needs mcp, which is not installed.*harness\[mcp\]"):
        _run(["mcp"])


def test_the_inspector_lists_the_tools(project):
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("the Inspector needs npx")
    environment = environment_of(project)  # the Inspector passes on only the -e variables
    passed = [f"-e{name}={environment[name]}" for name in ("HARNESS_CONFIG", "HARNESS_REGISTRY")]
    inspector = [npx, "--yes", "@modelcontextprotocol/inspector@2", "--cli", *passed]
    ran = subprocess.run(
        [*inspector, *command(), "--method", "tools/list"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    if "npm error" in ran.stderr or "npm ERR" in ran.stderr:
        pytest.skip(f"npx cannot install the Inspector: {ran.stderr[-300:]}")
    assert ran.returncode == 0, ran.stderr
    names = {tool["name"] for tool in json.loads(ran.stdout)["tools"]}
    assert {"annotate", "corpus_read", "rows"} <= names
