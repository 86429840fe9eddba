"""before_tool and after_tool: plugins and commands that refuse or annotate calls of a model."""

import dataclasses
import json
import threading

import pytest
from plugin_folders import plugin

from harness import NotAllowed, hookimpl
from harness.errors import Interrupted
from harness.testing import FakeModel, calling, fake_app, tool_call


def reader(**arguments):
    """Return a model that reads notes.txt and then answers."""
    call = tool_call("read_file", **({"path": "notes.txt"} | arguments))
    return FakeModel(calling(call), "Done.", takes_tools=True)


def hooks(file, hook, command, **more):
    """Write a file of hooks with one command, or with several commands."""
    commands = [command] if isinstance(command, str) else command
    listed = [{"type": "command", "command": one, **more} for one in commands]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"hooks": {hook: [{"matcher": "", "hooks": listed}]}}))
    return file


def answered(app, line="read it"):
    """Run a line, and return the exit code and the answer of the tool that the model received."""
    result = app.dispatch(line).result
    [answer] = [m for m in app.conversation.messages if m.role == "tool"][-1:]
    return result.code, json.loads(answer.content)


@pytest.fixture
def own(tmp_path):
    (tmp_path / "notes.txt").write_text("It rained in May.")
    return tmp_path / "config" / "hooks.json"


def test_a_command_receives_the_call_and_refuses_it(tmp_path, own):
    hooks(own, "before_tool", "cat > seen.json; echo 'not in May' >&2; exit 2")
    app = fake_app(tmp_path, reader())
    code, answer = answered(app)
    assert code == 2
    name = f"`cat > seen.json; echo 'not in May' >&2; exit 2` ({own})"
    assert answer["error"] == f"before_tool of {name} refuses read_file: not in May"
    assert json.loads((tmp_path / "seen.json").read_text()) == {
        "hook_event_name": "before_tool",
        "cwd": str(tmp_path),
        "tool_name": "read_file",
        "tool_input": {"path": "notes.txt"},
        "line": "read_file notes.txt",
    }
    [row] = [run for run in app.run_log.recent(9) if run["door"] == "model"]
    assert (row["status"], row["error_type"]) == ("failed", "NotAllowed")
    assert "not in May" in app.screen.err.getvalue()


def test_commands_annotate_a_call(tmp_path, own):
    commands = {
        "before_tool": [{"hooks": [{"command": "echo before"}, {"command": "true"}]}],
        "after_tool": [{"matcher": "*", "hooks": [{"command": "cat | tee seen.json"}]}],
    }
    own.parent.mkdir()
    own.write_text(json.dumps({"hooks": commands, "other": 1}))
    code, answer = answered(fake_app(tmp_path, reader()))
    assert code == 0
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert answer.pop("notes") == ["before", json.dumps(seen)]
    assert (seen["tool_response"], seen["exit_code"]) == (answer, 0)
    assert "It rained in May." in json.dumps(answer)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("exit 2", "it ended with exit code 2"),
        ("echo broken >&2; exit 1", "it ended with exit code 1: broken"),
        ("./missing", "it ended with exit code 127: "),
        ("sleep 60 & sleep 60", "not finished within 0.3 s"),
        ("kill -9 $$", "it ended with exit code -9"),
    ],
)
@pytest.mark.parametrize("hook", ["before_tool", "after_tool"])
def test_a_command_that_fails_or_hangs_refuses_with_its_name(tmp_path, own, command, reason, hook):
    hooks(own, hook, ["true", command, "touch ran"], timeout=0.3)
    code, answer = answered(fake_app(tmp_path, reader()))
    assert code == 2
    assert answer["error"].startswith(f"{hook} of `{command}` ({own}) refuses read_file: {reason}")
    assert "It rained" not in json.dumps(answer)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("matcher", "code"),
    [("read_file|run", 2), ("read_.*", 2), ("*", 2), ("read", 0), ("write_file", 0)],
)
def test_matcher_selects_tools_by_their_whole_name(tmp_path, own, matcher, code):
    file = hooks(own, "before_tool", "exit 2")
    file.write_text(file.read_text().replace('"matcher": ""', f'"matcher": "{matcher}"'))
    assert answered(fake_app(tmp_path, reader()))[0] == code


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "it is not JSON"),
        ('{"hooks": {"before_tols": []}}', "hooks.before_tols: Extra inputs are not permitted"),
        ('{"hooks": {"before_tool": [{"hooks": [{}]}]}}', "hooks.before_tool.0.hooks.0.command"),
        (
            '{"hooks": {"before_tool": [{"matcher": "(", "hooks": []}]}}',
            "a valid regular expression",
        ),
        ("{}", "hooks: Field required"),
    ],
)
def test_a_damaged_file_refuses_all_calls(tmp_path, own, content, reason):
    own.parent.mkdir()
    own.write_text(content)
    code, answer = answered(fake_app(tmp_path, reader()))
    assert code == 2
    assert reason in answer["error"]
    assert answer["where"] == (f"{own}:1" if content == "{" else str(own))


def test_commands_of_a_project_run_only_while_its_file_is_trusted(tmp_path, own):
    file = hooks(tmp_path / ".agents" / "hooks.json", "before_tool", "touch ran; exit 2")
    app = fake_app(tmp_path, FakeModel(*reader().replies * 9, takes_tools=True))
    for _ in range(2):
        assert answered(app)[0] == 0
    notices = app.screen.err.getvalue()
    assert notices.count(f"{file} is not trusted, so its commands do not run: read it, then") == 1
    assert not (tmp_path / "ran").exists()
    app.dispatch("/permissions trust")
    assert answered(app)[0] == 2
    assert (tmp_path / "ran").exists()
    file.write_text(file.read_text() + " ")
    assert answered(app)[0] == 0


def test_a_model_cannot_write_hooks(tmp_path, own):
    call = tool_call("write_file", path=".agents/hooks.json", content="{}")
    app = fake_app(tmp_path, FakeModel(calling(call), "Done.", takes_tools=True))
    code, answer = answered(app, "--yes write it")
    assert code == 2
    assert "control the harness" in answer["error"]


def test_ctrl_c_ends_a_hook_and_the_turn(tmp_path, own):
    hooks(own, "before_tool", "touch started; sleep 60")
    app, stop = fake_app(tmp_path, reader()), threading.Event()

    def watch():
        while not (tmp_path / "started").exists():
            pass
        stop.set()

    thread = threading.Thread(target=watch)
    thread.start()
    with pytest.raises(Interrupted):
        app.dispatch("read it", cancel=stop)
    thread.join()


class Checks:
    """A plugin that calls a function before and after a call."""

    def __init__(self, before=lambda call: None, after=lambda call: None):
        self.before, self.after = before, after

    @hookimpl
    def before_tool(self, call):
        print("on stdout")
        return self.before(call)

    @hookimpl
    def after_tool(self, call):
        return self.after(call)


def raising(error):
    def check(call):
        raise error

    return check


def test_plugins_see_and_annotate_a_call(tmp_path, own, capsys):
    seen = []
    checks = Checks(lambda call: seen.append(call), lambda call: seen.append(call) or "a note")
    app = fake_app(tmp_path, reader(), plugins={"checks": checks})
    assert answered(app)[1]["notes"] == ["a note"]
    started, finished = seen
    assert (started.tool, started.arguments) == ("read_file", {"path": "notes.txt"})
    assert started.line == finished.line == "read_file notes.txt"
    assert ("It rained" in finished.result, finished.exit_code) == (True, 0)
    assert "checks (built in): a note" in app.screen.err.getvalue()
    assert capsys.readouterr().out == ""
    assert "has hooks: checks (built in)" in app.dispatch("/skills").result.text


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        (raising(NotAllowed("only in June")), "only in June"),
        (raising(ValueError("no luck")), "ValueError: no luck"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (lambda call: 3, "TypeError: it returned int, not text"),
    ],
)
@pytest.mark.parametrize("hook", ["before", "after"])
def test_a_plugin_that_raises_refuses_with_its_name(tmp_path, own, hook, check, reason):
    app = fake_app(tmp_path, reader(), plugins={"checks": Checks(**{hook: check})})
    code, answer = answered(app)
    assert code == 2
    assert answer["error"] == f"{hook}_tool of checks (built in) refuses read_file: {reason}"


HANGS = """
import time
from harness import hookimpl

@hookimpl
def before_tool(call):
    time.sleep(600)
"""


def test_a_plugin_that_hangs_refuses_after_its_time_limit(tmp_path, own):
    folder = plugin(tmp_path / "config" / "skills", "hangs", HANGS)
    app = fake_app(tmp_path, reader())
    app.settings = dataclasses.replace(app.settings, plugin_deadline=1)
    app.reload()
    code, answer = answered(app)
    assert code == 2
    reason = "not finished within 1 s"
    assert answer["error"] == f"before_tool of hangs ({folder}) refuses read_file: {reason}"


GIVES_UP = """
from harness import Interrupted, hookimpl

@hookimpl
def before_tool(call):
    raise Interrupted("the plugin gave up")
"""


def test_a_plugin_that_raises_interrupted_refuses_the_call_and_not_the_line(tmp_path, own):
    folder = plugin(tmp_path / "config" / "skills", "gives-up", GIVES_UP)
    code, answer = answered(fake_app(tmp_path, reader()))
    assert code == 2
    reason = "the plugin gave up"
    assert answer["error"] == f"before_tool of gives-up ({folder}) refuses read_file: {reason}"
