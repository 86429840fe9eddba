"""Discovery of skills, trust, and invalid results."""

import dataclasses
import importlib.util
import io
import os
import py_compile
import shutil
import tempfile
from pathlib import Path

import pytest
from plugin_folders import GOOD, lenient, plugin
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from harness import Call, OutputError, Result, Skill, SkillFailed, UsageError
from harness.cli import interactive_session, main
from harness.cli.app import App
from harness.cli.interactive_session import Repl
from harness.errors import NotTrusted, UnknownSkill
from harness.plugins import loader, trust
from harness.plugins.catalogue import Shadowed
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_app, fake_settings


def test_strict_mode_raises(tmp_path):
    plugin(tmp_path / "config" / "skills", "bad", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        fake_app(tmp_path)


def test_project_plugin_runs_only_if_trusted(tmp_path):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    (folder / "plugin.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n" + GOOD.format(name="theirs")
    )
    app = lenient(tmp_path)
    with pytest.raises(NotTrusted, match="--trust"):
        app.dispatch("/theirs x")
    assert not (tmp_path / "ran").exists()
    assert "not trusted" in app.dispatch("/skills").result.text
    assert app.dispatch("/theirs --trust x").result.text == "good: x"
    assert lenient(tmp_path).dispatch("/theirs x").result.text == "good: x"
    (folder / "helper.py").write_text("changed = True")
    with pytest.raises(NotTrusted):
        lenient(tmp_path).dispatch("/theirs x")


USES_FILES = """
import runpy
from pathlib import Path
from .helper import word
{good}
Good.run = lambda self, call: Result(f"{{word}} {{late()}} {{script()}} {{listed()}}")

def late():
    from .package import late
    return late.word

def script():
    return runpy.run_path(str(Path(__file__).with_name("script.py")))["word"]

def listed():
    return Path(__file__).with_name("linked").joinpath("words.txt").read_text()
"""
USED = ("helper.py", "package/__init__.py", "package/late.py", "script.py", "data/words.txt")


@pytest.mark.parametrize("moment", ["while it is hashed", "before the import", "after it"])
def test_what_replaces_trusted_files_does_not_run(tmp_path, monkeypatch, moment):
    code = USES_FILES.format(good=GOOD.format(name="theirs"))
    folder = plugin(tmp_path / "skills", "theirs", code)
    for name in USED:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("good" if name.endswith(".txt") else "word = 'good'")
    (folder / "linked").symlink_to(folder / "data")
    lenient(tmp_path).dispatch("/skills trust theirs")

    def swap():
        for name in USED:
            (folder / name).write_text("evil" if name.endswith(".txt") else "word = 'evil'")
        (folder / "linked").unlink()
        (folder / "linked").symlink_to(folder / "package")
        (folder / "plugin.py").write_text("raise SystemExit('evil')")

    read, hashed, imported = (
        trust.read_bytes,
        trust.content_hash,
        loader.import_folder,
    )
    if moment == "while it is hashed":
        last = folder / "script.py"
        late = lambda path, limit: (read(path, limit), path == last and swap())[0]  # noqa: E731
        monkeypatch.setattr(trust, "read_bytes", late)
    elif moment == "before the import":
        late = lambda *given: (hashed(*given), swap())[0]  # noqa: E731
        monkeypatch.setattr(trust, "content_hash", late)
    else:
        late = lambda source: (imported(source), swap())[0]  # noqa: E731
        monkeypatch.setattr(loader, "import_folder", late)
    assert lenient(tmp_path).dispatch("/theirs").result.text == "good good good good"
    monkeypatch.undo()
    with pytest.raises(NotTrusted):
        lenient(tmp_path).dispatch("/theirs")


def test_copies_of_killed_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for pid in (os.getpid(), 2**22 + 1):
        (tmp_path / f"nanda-trusted-{pid}-abc").mkdir()
    made = trust.private_folder.__wrapped__()
    assert {*tmp_path.iterdir()} == {made, tmp_path / f"nanda-trusted-{os.getpid()}-abc"}


def test_what_is_changed_during_the_question_is_not_trusted(tmp_path):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    swapped = lambda question: (folder / "plugin.py").write_text("1 / 0") > 0  # noqa: E731
    with pytest.raises(UsageError, match="was changed while you were asked"):
        lenient(tmp_path, confirm=swapped).dispatch("/theirs x")
    assert not (tmp_path / "config" / "trusted.json").exists()


def test_user_is_asked_for_trust(tmp_path):
    plugin(tmp_path / ".agents" / "skills", "theirs", GOOD.format(name="theirs"))
    asked = []
    app = lenient(tmp_path, confirm=lambda question: asked.append(question) or len(asked) > 1)
    with pytest.raises(NotTrusted):
        app.dispatch("/theirs x")
    assert app.dispatch("/theirs x").result.text == "good: x"
    assert "/theirs" in asked[0]


def test_both_frontends_require_trust(tmp_path, monkeypatch, capsys):
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    assert main.main(["/theirs x"]) == 2
    assert "Read its files, then add --trust once, right after /theirs." in capsys.readouterr().err
    assert main.main(["--trust", "/theirs x"]) == 0
    assert main.main(["/theirs x"]) == 0
    assert capsys.readouterr().out == "good: x\n" * 2
    (folder / "plugin.py").write_text(GOOD.format(name="theirs").replace("good:", "changed:"))
    assert main.main(["/theirs x"]) == 2
    answers = [False, True]
    app = lenient(tmp_path, confirm=lambda question: answers.pop(0))
    with create_pipe_input() as keys:
        keys.send_text("/theirs x\r/theirs x\r/theirs x\r\x04")
        Repl(app, keys, DummyOutput()).run()
    assert app.screen.out.getvalue() == "changed: x\n" * 2
    assert "not trusted in its current state" in app.screen.err.getvalue()


def test_session_asks_on_the_terminal(capsys):
    for typed, answer in (("y", True), ("n", False), ("\x04", False)):
        with create_pipe_input() as keys, create_app_session(keys, DummyOutput()):
            keys.send_text(typed)
            assert interactive_session._confirm("Run its code?") is answer


def test_skills_trust_by_name(tmp_path):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    app = lenient(tmp_path)
    with pytest.raises(UsageError, match="Untrusted plugins: theirs"):
        app.dispatch("/skills trust other")
    with pytest.raises(UnknownSkill, match=r"/theirs is not trusted. Read its files, then run `/"):
        app.dispatch("/help theirs")
    with pytest.raises(UnknownSkill, match="mean /theirs"):
        app.dispatch("/their x")
    app.dispatch("/skills trust theirs")
    assert app.dispatch("/theirs x").result.text == "good: x"


def test_shipped_folder_as_project_is_not_a_duplicate(tmp_path):
    (tmp_path / "skills").symlink_to(fake_settings(tmp_path).shipped_skills)
    app = fake_app(tmp_path)  # strict: a duplicate would raise
    assert app.catalogue.skills["annotate"].origin == "built in"
    assert not app.catalogue.untrusted


def test_skill_of_an_entry_point(tmp_path, monkeypatch):
    (tmp_path / "shouting.py").write_text(GOOD.format(name="shout"))
    info = tmp_path / "shouting-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[harness.skills]\nshout = shouting\n")
    monkeypatch.syspath_prepend(tmp_path)
    app = fake_app(tmp_path / "home")
    assert app.catalogue.skills["shout"].origin == "shouting 1.2"
    assert app.dispatch("/shout x").result.text == "good: x"


def test_reload_finds_new_and_changed_skills(tmp_path):
    app = lenient(tmp_path)
    folder = plugin(tmp_path / "config" / "skills", "late", GOOD.format(name="late"))
    assert app.dispatch("/reload").result.data["new"] == ["late"]
    assert app.dispatch("/late x").result.text == "good: x"
    code = GOOD.format(name="late").replace('"good: "', '"very good: "')
    (folder / "plugin.py").write_text(code)
    app.dispatch("/reload")
    assert app.dispatch("/late x").result.text == "very good: x"


def test_folder_without_plugin_is_a_prompt_skill(tmp_path):
    folder = tmp_path / "skills" / "rhyme"
    (folder / "references").mkdir(parents=True)
    (folder / "references" / "words.md").write_text("secret")
    (folder / "SKILL.md").write_text(
        "---\nname: rhyme\ndescription: Make it rhyme --- always\nx: 1\n---\nAnswer in rhyme.\n"
    )
    model = FakeModel("Roses are red")
    app = fake_app(tmp_path, model)
    outcome = app.dispatch("/rhyme my abstract")
    assert outcome.result.text == "Roses are red"
    system, user = model.requests[0].messages
    assert "Answer in rhyme." in system.content
    assert "references/words.md" in system.content
    assert "secret" not in system.content
    assert user.content == "/rhyme my abstract"
    found = app.catalogue.skills["rhyme"]
    assert found.summary == "Make it rhyme --- always"
    assert found.problems == ("unknown field 'x'",)


def test_compiled_files_cannot_be_trusted(tmp_path):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    py_compile.compile(str(folder / "plugin.py"))
    with pytest.raises(UsageError, match="compiled Python"):
        lenient(tmp_path).dispatch("/theirs --trust x")


def test_sources_in_a_cache_folder_are_content(tmp_path):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "m.py").write_text("x = 1")
    assert lenient(tmp_path).dispatch("/theirs --trust x").result.text == "good: x"
    (folder / "__pycache__" / "m.py").write_text("x = 2")
    with pytest.raises(NotTrusted):
        lenient(tmp_path).dispatch("/theirs x")


@pytest.mark.parametrize("line", ["/theirs --trust x", "/skills trust theirs"])
def test_cycle_of_links_cannot_be_trusted(tmp_path, line):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    (folder / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="cannot be trusted"):
        lenient(tmp_path).dispatch(line)


def test_own_skill_precedes_a_project_plugin(tmp_path):
    plugin(tmp_path / "config" / "skills", "echo", GOOD.format(name="echo"))
    plugin(tmp_path / "skills", "echo", GOOD.format(name="echo").replace("good:", "evil:"))
    for _ in range(2):
        app = lenient(tmp_path)
        assert app.dispatch("/echo x").result.text == "good: x"
        assert app.catalogue.failures == []
        own = str(tmp_path / "config" / "skills" / "echo")
        project = str(tmp_path / "skills" / "echo")
        assert app.catalogue.shadowed == [Shadowed("echo", project, own)]
        with pytest.raises(UsageError):
            app.dispatch("/skills trust echo")


def test_prompt_skill_beside_shipped_ones_is_found(tmp_path):
    shipped = tmp_path / "checkout" / "skills"
    folder = shipped / "hello"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: hello\ndescription: d\n---\nSay hello.\n")
    settings = dataclasses.replace(
        fake_settings(tmp_path), shipped_skills=shipped, project_dir=tmp_path / "checkout"
    )
    app = App(settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))
    assert "hello" in app.catalogue.skills


def test_the_skills_of_another_checkout_are_not_loaded(tmp_path):
    """An installed `nanda` has the same skills; a project's own skill is still reported."""
    shutil.copytree(CODE_ROOT / "skills" / "serve", tmp_path / "skills" / "serve")
    assert [one.name for one in fake_app(tmp_path).catalogue.shadowed] == ["serve"]
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "_version.py").touch()
    assert fake_app(tmp_path).catalogue.shadowed == []


def test_compiled_files_are_never_run(tmp_path):
    """Users cannot read compiled files, so they cannot trust them."""
    folder = plugin(tmp_path / "config" / "skills", "theirs", GOOD.format(name="theirs"))
    (folder / "beside.py").write_text("WORD = 'good'")
    code = GOOD.format(name="theirs").replace("class Good", "from .beside import WORD\nclass Good")
    (folder / "plugin.py").write_text(code.replace('"good: "', 'WORD + ": "'))
    for name in ("plugin.py", "beside.py"):
        evil = tmp_path / name
        evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
        py_compile.compile(
            str(evil),
            importlib.util.cache_from_source(str(folder / name)),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    assert lenient(tmp_path).dispatch("/theirs x").result.text == "good: x"
    assert not (tmp_path / "ran").exists()


def test_link_out_of_the_folder_cannot_be_trusted(tmp_path):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    (tmp_path / "elsewhere").mkdir()
    (folder / "lib").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="link leads out of the folder"):
        lenient(tmp_path).dispatch("/theirs --trust x")


@pytest.mark.parametrize(
    ("line", "trusted"),
    [
        ("/theirs --trust x", True),
        ("/theirs x --trust", True),
        ("/theirs a text that says --trust me", False),
        ("/theirs -- x --trust", False),
        ("/theirs --json -- what does --trust", False),
        ("/theirs --json --trust x", True),
        ("/theirs x --trust --json", True),
        ("/theirs x", False),
    ],
)
def test_trust_is_not_read_from_the_text(tmp_path, line, trusted):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    app = lenient(tmp_path)
    if trusted:
        assert app.dispatch(line).result.text == "good: x"
    else:
        with pytest.raises(NotTrusted):
            app.dispatch(line)


def test_file_name_without_utf8_can_be_trusted(tmp_path):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    odd = Path(os.fsdecode(bytes(folder / "caf") + b"\xe9.txt"))
    odd.write_text("one")
    assert lenient(tmp_path).dispatch("/theirs --trust x").result.text == "good: x"
    assert lenient(tmp_path).dispatch("/theirs x").result.text == "good: x"
    odd.write_text("two")
    with pytest.raises(NotTrusted):
        lenient(tmp_path).dispatch("/theirs x")


def test_trust_that_was_not_stored_can_be_repeated(tmp_path):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    app = lenient(tmp_path)
    (tmp_path / "config").write_text("a file where the folder should be")
    for _ in range(2):
        with pytest.raises(OutputError, match="trust cannot be stored"):
            app.dispatch("/theirs --trust x")


def test_unreadable_file_is_named_once(tmp_path, monkeypatch):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    path, read = folder / "plugin.py", trust.read_bytes

    def shut(one, limit):
        if one == path:
            raise PermissionError(13, "Permission denied", str(path))
        return read(one, limit)

    monkeypatch.setattr(trust, "read_bytes", shut)
    with pytest.raises(UsageError) as refused:
        lenient(tmp_path).dispatch("/theirs --trust x")
    assert str(refused.value) == f"{path}: cannot be trusted: Permission denied"


def test_plugin_without_a_skill_of_its_name(tmp_path):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="other"))
    with pytest.raises(UsageError, match="has no skill /theirs"):
        lenient(tmp_path).dispatch("/theirs --trust x")


def test_untrusted_duplicate_is_shadowed(tmp_path):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    plugin(tmp_path / ".agents" / "skills", "theirs", GOOD.format(name="theirs"))
    app = lenient(tmp_path)
    first, second = tmp_path / "skills" / "theirs", tmp_path / ".agents" / "skills" / "theirs"
    assert app.catalogue.shadowed == [Shadowed("theirs", str(second), str(first))]
    assert app.catalogue.untrusted["theirs"].folder == first


def test_link_in_the_own_folder_is_trusted(tmp_path):
    folder = plugin(tmp_path / "work", "linked", GOOD.format(name="linked"))
    own = tmp_path / "config" / "skills"
    own.mkdir(parents=True)
    (own / "linked").symlink_to(folder)
    assert lenient(tmp_path).dispatch("/linked x").result.text == "good: x"


class Ragged(Skill):
    name = "ragged"
    summary = "has a result that breaks when it is used"
    saves = (".txt", ".md")

    def run(self, call: Call) -> Result:
        loop: list[object] = []
        loop.append(loop)
        data = {"path": call.settings.data_dir} if call.text == "path" else loop
        return Result("x", data, {".txt": lambda: str(1 / 0), ".md": lambda: 5})


@pytest.mark.parametrize("line", ["/ragged x -o a.txt", "/ragged x -o a.md", "/ragged --json x"])
def test_failing_result_is_a_failure_of_the_skill(tmp_path, line, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = fake_app(tmp_path, None, Ragged())
    with pytest.raises(SkillFailed):
        app.dispatch(line)
    [run] = app.run_log.recent(1)
    assert run["status"] == "failed"
    assert not list(tmp_path.glob("a.*"))


def test_paths_in_a_result_become_text(tmp_path):
    outcome = fake_app(tmp_path, None, Ragged()).dispatch("/ragged --json path")
    assert str(tmp_path / "data") in outcome.result.as_json()
