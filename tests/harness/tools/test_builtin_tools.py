"""The built-in tools as a chat model calls them: results, errors, questions and the run log."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.chat.toolbox import ALL, BARE, size
from harness.cli.app import App
from harness.errors import Interrupted, NotAllowed
from harness.models.backend import ToolCall
from harness.runs.frontend import Frontend
from harness.testing import FakeModel, calling, fake_app, tool_call
from harness.tools import run_command
from harness.tools.builtin_tools import AskUser, Workplace

if TYPE_CHECKING:
    from conftest import Use, User

NAMES = ["read_file", "list_files", "search_files", "write_file", "run", "ask_user"]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., App]:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)

    def made(*script: Any, answer: str | None = None) -> App:
        def choose(question: str, choices: Sequence[str]) -> str:
            return next((one for one in choices if one.startswith(answer or "")), "")

        door = Frontend("test", choose=None if answer is None else choose)
        model = FakeModel(*script, takes_tools=True, context=16384)
        return fake_app(project, model, door=door)

    return made


def results(app: App) -> list[dict[str, Any]]:
    """Return the results of the calls as the model received them."""
    messages = app.conversation.messages
    return [json.loads(message.content) for message in messages if message.role == "tool"]


def test_a_model_uses_several_tools(make: Callable[..., App], tmp_path: Path) -> None:
    (tmp_path / "project" / "a.txt").write_text("one\n")
    app = make(
        calling(tool_call("read_file", path="a.txt")),
        calling(tool_call("write_file", path="a.txt", content="two\n", replaces="one\n")),
        calling(tool_call("run", command="cat a.txt")),
        "Done.",
        answer="yes",
    )
    outcome = app.dispatch("/chat change it")
    assert outcome.result.text == "Done."
    read, written, ran = results(app)
    assert read["text"] == "one"
    assert written == {"path": "a.txt", "bytes": 4, "created": False}
    assert ran == {"exit_code": 0, "output": "two\n"}
    shown = [line for line in app.screen.err.getvalue().splitlines() if line.startswith("-> ")]  # type: ignore[attr-defined]
    lines = ["read_file a.txt", "write_file a.txt", "run cat a.txt"]
    assert shown == [f"-> {line}" for line in lines]
    assert [call["line"] for call in outcome.result.data["calls"]] == lines
    runs = app.run_log.recent(9)
    logged = {run["line"]: run for run in runs}
    assert {logged[line]["door"] for line in lines} == {"model"}
    assert json.loads(logged["write_file a.txt"]["options"])["content"] == "two\n"
    [output] = app.run_log.get(logged["write_file a.txt"]["id"])["outputs"]  # type: ignore[index]
    assert output["path"] == str(tmp_path / "project" / "a.txt")


def logged(app: App) -> list[tuple[str, str, str | None]]:
    """Return the line, status and consent of each call in the run log, the first one first."""
    runs = [run for run in reversed(app.run_log.recent(20)) if run["door"] == "model"]
    return [(run["line"], run["status"], run["allowed"]) for run in runs]


def test_the_run_log_states_how_calls_were_allowed(
    make: Callable[..., App], tmp_path: Path
) -> None:
    (tmp_path / "project" / "a.txt").write_text("one\n")
    skill = tmp_path / "project" / ".agents" / "skills" / "theirs"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: theirs\ndescription: Theirs.\n---\nDo.\n")
    app = make(
        calling(tool_call("read_file", path="a.txt"), tool_call("models")),
        calling(tool_call("run", command="cat a.txt"), tool_call("run", command="cat  a.txt")),
        calling(tool_call("activate_skill", skill="theirs")),
        "Done.",
        calling(tool_call("run", command="ls")),
        "Done.",
    )
    answers = iter(["always: run", "yes"])

    def choose(question: str, choices: Sequence[str]) -> str:
        answer = next(answers)
        return next(one for one in choices if one.startswith(answer))

    app.frontend = Frontend("test", choose=choose)
    app.dispatch("/chat look")
    app.dispatch("/chat --yes look")
    sandbox = "" if run_command.no_sandbox() else " in the sandbox"
    always = f"always: run exactly `cat a.txt`{sandbox}"
    assert logged(app) == [
        ("read_file a.txt", "done", "without asking"),
        ("/models", "done", "without asking"),
        ("run cat a.txt", "done", f"answered: {always} in this project"),
        ("run cat  a.txt", "done", always),
        ("/theirs", "done", "answered: yes"),
        ("run ls", "done", "--yes"),
    ]
    [users] = [run for run in app.run_log.recent(9) if run["line"] == "/chat look"]
    assert users["allowed"] is None


def test_calls_that_are_not_run_are_in_the_run_log(
    make: Callable[..., App], tmp_path: Path
) -> None:
    skill = tmp_path / "project" / ".agents" / "skills" / "theirs"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: theirs\ndescription: Theirs.\n---\nDo.\n")
    app = make(
        calling(
            tool_call("run", command=["ls"]),
            ToolCall("shell", "ls", "1"),
            tool_call("annotate", text="a b c", save_to="a.jsonl"),
            tool_call("activate_skill", skill="theirs"),
            tool_call("activate_skill", skill="hers"),
        ),
        "Sorry.",
        answer="no",
    )
    assert app.dispatch("/chat do it").result.code == 2
    assert logged(app) == [
        ('run {"command": ["ls"]}', "failed", None),
        ("shell ls", "failed", None),
        ("/annotate a b c save to a.jsonl", "failed", None),
        ("/theirs", "failed", None),
        ('activate_skill {"skill": "hers"}', "failed", None),
    ]
    errors = [run["error"] for run in app.run_log.recent(9) if run["door"] == "model"]
    assert all(errors)


def test_without_a_user_calls_are_refused_with_an_exit_code(
    make: Callable[..., App], tmp_path: Path
) -> None:
    app = make(calling(tool_call("run", command="touch a.txt")), "I may not.")
    outcome = app.dispatch("/chat do it")
    assert outcome.result.code == 2
    [refused] = results(app)
    assert (
        refused["error"] == "the model wants to run `touch a.txt`, and nobody is here to allow that"
    )
    assert refused["what_to_do"] == "`--yes` before the line allows the action."
    assert not (tmp_path / "project" / "a.txt").exists()
    run = next(run for run in app.run_log.recent(9) if run["skill"] == "run")
    assert (run["status"], run["exit_code"], run["error_type"]) == ("failed", 2, "NotAllowed")


def test_yes_before_the_line_allows(make: Callable[..., App], tmp_path: Path) -> None:
    app = make(calling(tool_call("write_file", path="a.txt", content="x")), "Done.")
    assert app.dispatch("/chat --yes do it").result.code == 0
    assert (tmp_path / "project" / "a.txt").read_text() == "x"


def test_calls_of_a_line_without_a_log_are_not_logged(make: Callable[..., App]) -> None:
    app = make(calling(tool_call("list_files")), "Done.")
    app.dispatch("/chat --no-log look")
    assert not app.run_log.recent(9)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (tool_call("run"), "command: Field required"),
        (tool_call("run", command=["ls"]), "command: Input should be a valid string"),
        (
            tool_call("run", command="ls", timeout="soon"),
            "timeout: Input should be a valid integer",
        ),
        (tool_call("run", command="ls", timeout=10_000), "timeout: Input should be less than"),
        (tool_call("run", command="ls", cwd="/"), "cwd: Extra inputs are not permitted"),
        (
            tool_call("write_file", pth="a", text="b"),
            "path: Field required; content: Field required; pth: Extra inputs are not permitted; "
            "text: Extra inputs are not permitted",
        ),
        (tool_call("read_file", path=7), "path: Input should be a valid string"),
        (tool_call("read_file", path="a", offset=0), "offset: Input should be greater than"),
        (tool_call("read_file", path="gone.txt"), "there is no such file"),
        (
            tool_call("ask_user", question="x", choices="y"),
            "choices: Input should be a valid tuple",
        ),
        (tool_call("shell", command="ls"), "there is no tool 'shell'"),
        (ToolCall("run", "ls"), "the arguments are not JSON"),
        (ToolCall("run", '["ls"]'), "the arguments are not a JSON object"),
        (ToolCall("run", "[" * 5000), "the arguments are not JSON"),
    ],
)
def test_wrong_calls_are_answered(make: Callable[..., App], call: ToolCall, error: str) -> None:
    app = make(calling(call), "Sorry.", answer="yes")
    app.dispatch("/chat do it")
    [answered] = results(app)
    assert error in answered["error"]
    assert answered["exit_code"] == 2


def test_null_arguments_are_missing_ones(make: Callable[..., App]) -> None:
    app = make(calling(tool_call("list_files", path=None, recursive=None)), "Done.")
    app.dispatch("/chat look")
    assert results(app)[0]["path"] == "."


def test_a_result_is_small_whatever_was_read(make: Callable[..., App], tmp_path: Path) -> None:
    (tmp_path / "project" / "a.txt").write_text("\x01\n" * 5_000_000)
    app = make(
        calling(tool_call("read_file", path="a.txt")),
        calling(tool_call("run", command="head -c 9000000 /dev/zero")),
        calling(tool_call("search_files", pattern=".")),
        "Done.",
        answer="yes",
    )
    app.dispatch("/chat read it")
    assert len(results(app)) == 3
    tools = [m for m in app.conversation.messages if m.role == "tool"]
    assert max(len(message.content) for message in tools) < 100_000


def test_tools_are_described_at_each_level(make: Callable[..., App]) -> None:
    app = make("Hello.")
    tools = {tool.name: tool for tool in app.toolbox.tools(10**6)}
    assert [name for name in tools if name in NAMES] == NAMES
    schema = tools["run"].parameters
    assert schema["required"] == ["command"]
    assert schema["properties"]["timeout"]["type"] == "integer"
    choices = tools["ask_user"].parameters["properties"]["choices"]
    assert choices == {
        "type": "array",
        "items": {"type": "string"},
        "description": "answers that the user can choose from",
    }
    sources = app.toolbox._own
    bare = [sources[name].described(BARE) for name in NAMES]
    assert set(bare[0].parameters["properties"]) == {"path"}
    assert sum(map(size, bare)) < 0.6 * sum(size(sources[name].described(ALL)) for name in NAMES)


def test_ctrl_c_in_a_command_ends_the_turn(make: Callable[..., App]) -> None:
    def interrupted(question: str, choices: Sequence[str]) -> str:
        raise KeyboardInterrupt

    app = make(calling(tool_call("run", command="ls")), "Done.")
    app.frontend = Frontend("test", choose=interrupted)
    with pytest.raises(Interrupted):
        app.dispatch("/chat do it")
    run = next(run for run in app.run_log.recent(9) if run["skill"] == "run")
    assert run["status"] == "interrupted"


def test_a_skill_in_use_is_named_in_questions(make: Callable[..., App], tmp_path: Path) -> None:
    skill = tmp_path / "project" / "config" / "skills" / "mine"
    (skill / "scripts").mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: mine\ndescription: Mine.\n---\nRun it.\n")
    (skill / "scripts" / "hello.sh").write_text("echo hello\n")
    call = tool_call("run", command="sh scripts/hello.sh")
    read = tool_call("read_file", path=str(skill / "scripts" / "hello.sh"))
    app = make(calling(call, read), "Done.", calling(call, read), "No.")
    asked: list[tuple[str, Sequence[str]]] = []

    def choose(question: str, choices: Sequence[str]) -> str:
        asked.append((question, choices))
        return choices[-1] if len(choices) > 2 else "yes"

    app.frontend = Frontend("test", choose=choose)
    app.dispatch("/mine do it")
    ran, script = results(app)
    assert (ran["output"], script["text"]) == ("hello\n", "echo hello")
    [(question, choices)] = asked
    assert "/mine wants to run `sh " in question
    script = skill / "scripts" / "hello.sh"
    sandbox = "" if run_command.no_sandbox() else " in the sandbox"
    always = f"always: run exactly `sh {script}`{sandbox} for /mine in this project"
    assert choices[-1] == (always if sandbox else "no")
    app.dispatch("/clear")
    app.frontend = Frontend("test", choose=lambda question, choices: "no")
    app.dispatch("/chat do it")
    assert [result["exit_code"] for result in results(app)] == [2, 2], "it is no longer in use"


def test_scripts_of_a_project_skill_are_the_scripts_that_were_allowed(
    make: Callable[..., App], tmp_path: Path
) -> None:
    script = tmp_path / "project" / "skills" / "mine" / "scripts" / "hello.sh"
    script.parent.mkdir(parents=True)
    (script.parents[1] / "SKILL.md").write_text("---\nname: mine\ndescription: Mine.\n---\nRun.\n")
    script.write_text("echo hello\n")
    activate = tool_call("activate_skill", skill="mine")
    run = tool_call("run", command="sh scripts/hello.sh")
    app = make(calling(activate), calling(run), "Done.")
    asked: list[str] = []

    def choose(question: str, choices: Sequence[str]) -> str:
        asked.append(question)
        script.write_text("echo replaced\n")
        return "yes"

    app.frontend = Frontend("test", choose=choose)
    app.dispatch("/chat do it")
    assert results(app)[-1]["output"] == "hello\n"
    assert f"wants to run `sh {script}`" in asked[-1], "an answer holds in other sessions, too"


def test_choices(use: Use, user: User) -> None:
    user.answer = "blue"
    given = use(AskUser(), question="Which\x1b[2J colour?", choices=["red", "blue", "", "blue"])
    assert given == {"answer": "blue"}
    assert user.questions == ["The model asks: Which\\x1b[2J colour?"]


def test_free_text(use: Use, place: Workplace) -> None:
    assert use(AskUser(), question="Why?") == {"answer": "about The model asks: Why?"}
    typed = replace(place, frontend=Frontend("test", ask=lambda question: question))
    given = use(AskUser(), at=typed, question="Which?", choices=["a", "b"])
    assert given == {"answer": "The model asks: Which? (a / b)"}


def test_nobody_is_there(use: Use, place: Workplace) -> None:
    with pytest.raises(NotAllowed, match="nobody is here to answer"):
        use(AskUser(), at=replace(place, frontend=Frontend("one-shot")), question="Why?")
