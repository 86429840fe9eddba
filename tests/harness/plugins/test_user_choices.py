"""`/skills disable NAME` and `/skills enable NAME`."""

import json
import subprocess
import sys

import pytest
from plugin_folders import GOOD, entry_point, lenient, plugin
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from harness import OutputError, UsageError
from harness.cli import main
from harness.cli.interactive_session import Repl
from harness.errors import NotTrusted, UnknownSkill
from harness.settings import CODE_ROOT


def own(tmp_path, name, code=None):
    return plugin(tmp_path / "config" / "skills", name, code or GOOD.format(name=name))


def disabled(tmp_path):
    return json.loads((tmp_path / "config" / "disabled.json").read_text())


def test_disable_and_enable_a_skill(tmp_path):
    own(tmp_path, "echo")
    app = lenient(tmp_path)
    assert app.dispatch("/skills disable /echo").result.data == {"disabled": "echo"}
    for again in (app, lenient(tmp_path)):
        with pytest.raises(UnknownSkill, match=r"/echo is disabled\. `/skills enable echo`"):
            again.dispatch("/echo x")
        with pytest.raises(UnknownSkill, match="/echo is disabled"):
            again.dispatch("/help echo")
        with pytest.raises(UnknownSkill, match=r"mean /echo \(disabled; `/skills enable echo`\)"):
            again.dispatch("/ecko x")
        assert "/echo " not in again.dispatch("/help").result.text
        shown = again.dispatch("/skills").result
        origin = str(tmp_path / "config" / "skills" / "echo")
        assert shown.data["disabled"] == [{"name": "echo", "origin": origin}]
        assert f"echo ({origin}) is disabled; `/skills enable echo`" in shown.text
    app.dispatch("/skills enable echo")
    assert app.dispatch("/echo x").result.text == "good: x"
    assert lenient(tmp_path).dispatch("/echo x").result.text == "good: x"
    assert disabled(tmp_path) == []


def test_disabled_plugin_is_not_imported(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w').close()\n" + GOOD.format(name="spy")
    own(tmp_path, "spy", code)
    entry_point(tmp_path / "site", "spy", code)
    plugin(tmp_path / "skills", "spy", code)
    monkeypatch.syspath_prepend(tmp_path / "site")
    bare = lenient(tmp_path, bare=True)
    bare.dispatch("/skills disable spy")
    app = lenient(tmp_path)
    assert not ran.exists()
    assert app.catalogue.failures == []
    assert app.catalogue.untrusted == {}
    assert app.dispatch("/skills").result.data["disabled"] == [{"name": "spy", "origin": "spy 1.2"}]


def test_disable_by_folder_or_skill_file_name(tmp_path):
    folder = tmp_path / ".agents" / "skills" / "in-folder"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: in-file\ndescription: d\n---\nWork.\n")
    app = lenient(tmp_path)
    assert "in-file" in app.catalogue.skills
    for name in ("in-folder", "in-file"):
        app.dispatch(f"/skills disable {name}")
        assert "in-file" not in app.catalogue.skills
        app.dispatch(f"/skills enable {name}")
        assert "in-file" in app.catalogue.skills


def test_disable_one_skill_of_a_plugin(tmp_path):
    code = GOOD.format(name="one") + (
        "\nclass Two(Good):\n    name = 'two'\n"
        "\n@hookimpl(specname='register_skills')\ndef also(register):\n    register(Two())\n"
    )
    own(tmp_path, "pair", code)
    app = lenient(tmp_path)
    app.dispatch("/skills disable two")
    assert app.dispatch("/one x").result.text == "good: x"
    with pytest.raises(UnknownSkill, match="/two is disabled"):
        app.dispatch("/two x")
    app.dispatch("/skills disable pair")
    with pytest.raises(UnknownSkill, match="no skill /one"):
        app.dispatch("/one x")


def test_disable_a_shipped_skill(tmp_path):
    plugin(tmp_path / ".agents" / "skills", "corpus", GOOD.format(name="corpus"))
    app = lenient(tmp_path)
    app.dispatch("/skills disable corpus")
    for line in ("/corpus x", "/corpus --trust x"):
        with pytest.raises(UnknownSkill, match="/corpus is disabled"):
            app.dispatch(line)
    assert app.dispatch("/skills").result.data["disabled"] == [
        {"name": "corpus", "origin": "built in"}
    ]


@pytest.mark.parametrize("name", ["skills", "help", "reload", "exit", "chat", "models", "logs"])
def test_own_commands_cannot_be_disabled(tmp_path, name):
    app = lenient(tmp_path)
    with pytest.raises(UsageError, match=f"/{name} is part of the harness"):
        app.dispatch(f"/skills disable {name}")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "disabled.json").write_text(json.dumps([name]))
    app.dispatch("/reload")
    assert name in app.catalogue.skills
    assert app.catalogue.disabled == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/skills disable", "/skills disable needs a name"),
        ("/skills enable", "/skills enable needs a name"),
        ("/skills trust", "/skills trust needs a name"),
        ("/skills disable Two Words", "not a valid name"),
        ("/skills enable echo", "'echo' is not disabled. Disabled names: none."),
    ],
)
def test_invalid_names_are_refused(tmp_path, line, message):
    with pytest.raises(UsageError, match=message):
        lenient(tmp_path).dispatch(line)


def test_unknown_name_is_disabled_with_a_notice(tmp_path):
    app = lenient(tmp_path)
    app.dispatch("/skills disable anotate")
    assert "no plugin or skill named anotate is known. Did you mean annotate?" in (
        app.screen.err.getvalue()
    )
    assert disabled(tmp_path) == ["anotate"]
    assert "anotate (not found) is disabled" in (app.dispatch("/skills").result.text)


@pytest.mark.parametrize("damage", ["{", "[1, 2]", '{"a": 1}', ""])
def test_damaged_file_is_replaced(tmp_path, damage):
    own(tmp_path, "echo")
    (tmp_path / "config" / "disabled.json").write_text(damage)
    app = lenient(tmp_path)
    assert app.dispatch("/echo x").result.text == "good: x"
    app.dispatch("/skills disable echo")
    assert disabled(tmp_path) == ["echo"]


def test_unwritable_file_is_an_output_error(tmp_path):
    app = lenient(tmp_path)
    (tmp_path / "config").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="the list of disabled names cannot be stored"):
        app.dispatch("/skills disable annotate")
    assert "annotate" in app.catalogue.skills


def test_completion_marks_disabled_names(tmp_path):
    own(tmp_path, "echo")
    app = lenient(tmp_path)
    app.dispatch("/skills disable echo")
    with create_pipe_input() as keys:
        completer = Repl(app, keys, DummyOutput()).session.completer.completer
    [found] = completer.get_completions(Document("/ech"), CompleteEvent())
    assert found.text == "/echo"
    assert found.display_meta_text == "disabled; /skills enable echo"
    [found] = completer.get_completions(Document("/skills dis"), CompleteEvent())
    assert found.text == "disable"


def test_disable_and_enable_in_a_session(tmp_path):
    own(tmp_path, "echo")
    app = lenient(tmp_path)
    with create_pipe_input() as keys:
        lines = ("/skills disable echo", "/echo x", "/skills enable echo", "/echo y")
        keys.send_text("".join(f"{line}\r" for line in lines) + "\x04")
        Repl(app, keys, DummyOutput()).run()
    assert app.screen.out.getvalue() == (
        "echo is disabled. `/skills enable echo` undoes it.\necho is enabled.\ngood: y\n"
    )


@pytest.mark.parametrize("code", ["import os; os._exit(9)", "import time; time.sleep(600)"])
def test_disable_a_plugin_that_exits_or_hangs(tmp_path, monkeypatch, code):
    """On the command line, no plugin is loaded for this line."""
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name.lower()))
    own(tmp_path, "deadly", code)

    def agent(*words):
        return subprocess.run(
            [sys.executable, CODE_ROOT / "agent.py", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
        )

    done = agent("--json", "/skills disable deadly")
    assert json.loads(done.stdout) == {"disabled": "deadly"}, done.stderr
    assert done.stderr == ""
    shown = agent("--json", "/skills")
    [off] = json.loads(shown.stdout)["disabled"]
    assert off["name"] == "deadly"
    assert shown.stderr == ""


@pytest.mark.parametrize("subcommand", ["disable", "enable"])
def test_disable_and_enable_load_no_plugin(tmp_path, monkeypatch, capsys, subcommand):
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    ran = tmp_path / "ran"
    own(tmp_path, "spy", f"open({str(ran)!r}, 'w').close()\n" + GOOD.format(name="spy"))
    (tmp_path / "config" / "disabled.json").write_text('["other"]')
    assert main.main([f"/skills {subcommand} other"]) == 0
    assert not ran.exists()
    assert main.main(["/spy x"]) == 0
    assert ran.exists()
    assert capsys.readouterr().out.endswith("good: x\n")


def test_disabled_project_plugin_needs_no_trust(tmp_path):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    app = lenient(tmp_path, confirm=lambda question: pytest.fail("asked"))
    app.dispatch("/skills disable theirs")
    with pytest.raises(UnknownSkill, match="is disabled"):
        app.dispatch("/theirs x")
    app.dispatch("/skills enable theirs")
    with pytest.raises(NotTrusted):
        lenient(tmp_path).dispatch("/theirs x")
