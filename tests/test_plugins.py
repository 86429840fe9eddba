"""A broken plugin costs itself alone, in loading and in calling, whatever it does."""

import dataclasses
import importlib.util
import io
import py_compile
import sys
import textwrap

import pytest

from harness import Call, OutputError, Result, Skill, SkillFailed, UsageError
from harness.app import App
from harness.errors import NotTrusted
from harness.execution import Door
from harness.screen import Screen
from harness.testing import FakeModel, fake_app, fake_settings

GOOD = """
from harness import Call, Result, Skill, hookimpl

class Good(Skill):
    name = "{name}"
    summary = "works"
    text = "optional"

    def run(self, call):
        return Result("good: " + call.text)

@hookimpl
def register_skills(register):
    register(Good())
"""

BAD = {
    "import-error": ("import nosuchmodule", "ModuleNotFoundError"),
    "raises-at-import": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits-at-import": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "syntax-error": ("def (", "SyntaxError"),
    "wrong-signature": (
        "from harness import hookimpl\n@hookimpl\ndef register_skills(register, wrong): ...",
        "wrong",
    ),
    "misspelt-hook": (
        "from harness import hookimpl\n@hookimpl\ndef register_skill(register): ...",
        "register_skill",
    ),
    "no-hook": ("x = 1", "no hook that brings anything"),
    "raises-in-hook": (
        "from harness import hookimpl\n@hookimpl\ndef register_skills(register): 1 / 0",
        "ZeroDivisionError",
    ),
    "not-a-skill": (
        "from harness import hookimpl\n@hookimpl\ndef register_skills(register): register(1)",
        "skill name None",
    ),
    "bad-name": (GOOD.format(name="Bad Name"), "'Bad Name'"),
    "duplicate": (GOOD.format(name="help"), "/help is taken by the one from built in"),
    "takes-a-general-option": (
        GOOD.format(name="grabby").replace(
            "    def run",
            "    class Options(__import__('harness').SkillOptions):\n"
            "        model: str = 'x'\n\n    def run",
        ),
        "--model belongs to the harness",
    ),
}


def plugin(folder, name, code):
    folder = folder / name
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(f"---\nname: {name}\ndescription: a test\n---\n")
    (folder / "plugin.py").write_text(textwrap.dedent(code))
    return folder


def lenient(tmp_path, **how):
    settings = fake_settings(tmp_path)
    settings = type(settings)(
        **{
            **{name: getattr(settings, name) for name in settings.__slots__},
            "strict_plugins": False,
        }
    )
    return App(settings, Door("test", **how), Screen(io.StringIO(), io.StringIO()))


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_plugin_leaves_all_others_working(tmp_path, kind):
    code, reason = BAD[kind]
    own = tmp_path / "config" / "skills"
    plugin(own, "aa-good", GOOD.format(name="aa-good"))
    plugin(own, kind, code)
    plugin(own, "zz-good", GOOD.format(name="zz-good"))
    app = lenient(tmp_path)
    [failure] = app.catalogue.failures
    assert failure.name == kind
    assert reason in failure.reason
    assert app.dispatch("/aa-good x").result.text == "good: x"
    assert app.dispatch("/zz-good y").result.text == "good: y"
    assert "annotate" in app.catalogue.skills
    said = app.screen.err.getvalue()
    assert said.count("\n") == 1
    assert said.startswith(f"plugin {kind} left out: ")
    assert failure.traceback.rstrip() in app.dispatch("/skills").result.text


def test_strict_mode_raises(tmp_path):
    plugin(tmp_path / "config" / "skills", "bad", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        fake_app(tmp_path)


def test_a_plugin_that_prints_while_loading_leaves_stdout_alone(tmp_path, capsys):
    plugin(tmp_path / "config" / "skills", "loud", "print('hello')\n" + GOOD.format(name="loud"))
    lenient(tmp_path)
    assert capsys.readouterr().out == ""


class Rogue(Skill):
    name = "rogue"
    summary = "misbehaves as told"

    def run(self, call: Call) -> Result:
        if call.text == "raise":
            raise ValueError("no luck")
        if call.text == "exit":
            sys.exit(0)
        if call.text == "print":
            print("on stdout")
            return Result("the result")
        return "not a result"  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise", "ValueError: no luck"),
        ("exit", "SystemExit"),
        ("return", "returned str, not a Result"),
    ],
)
def test_a_skill_that_misbehaves_fails_alone(tmp_path, text, message):
    app = fake_app(tmp_path, None, Rogue())
    with pytest.raises(SkillFailed, match=message):
        app.dispatch(f"/rogue {text}")
    assert app.dispatch("/help rogue").result.text
    [run] = app.run_log.recent(1)
    assert (run["status"], run["exit_code"]) == ("failed", 1)
    if text == "raise":
        assert "raise ValueError" in run["traceback"]


def test_prints_of_a_skill_go_to_stderr(tmp_path, capsys):
    app = fake_app(tmp_path, None, Rogue())
    assert app.dispatch("/rogue print").result.text == "the result"
    assert capsys.readouterr().out == ""
    assert "on stdout" in app.screen.err.getvalue()


def test_a_projects_plugin_runs_only_once_its_content_is_trusted(tmp_path):
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


def test_trust_is_asked_for_where_there_is_somebody_to_ask(tmp_path):
    plugin(tmp_path / ".agents" / "skills", "theirs", GOOD.format(name="theirs"))
    asked = []
    app = lenient(tmp_path, confirm=lambda question: asked.append(question) or len(asked) > 1)
    with pytest.raises(NotTrusted):
        app.dispatch("/theirs x")
    assert app.dispatch("/theirs x").result.text == "good: x"
    assert "/theirs" in asked[0]


def test_skills_trust_by_name(tmp_path):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    app = lenient(tmp_path)
    with pytest.raises(UsageError, match="Waiting: theirs"):
        app.dispatch("/skills trust other")
    app.dispatch("/skills trust theirs")
    assert app.dispatch("/theirs x").result.text == "good: x"


def test_the_shipped_skills_folder_as_project_is_no_duplicate(tmp_path):
    (tmp_path / "skills").symlink_to(fake_settings(tmp_path).shipped_skills)
    app = fake_app(tmp_path)  # strict: a duplicate would raise
    assert app.catalogue.skills["annotate"].origin == "built in"
    assert not app.catalogue.untrusted


def test_an_entry_point_brings_a_skill(tmp_path, monkeypatch):
    (tmp_path / "shouting.py").write_text(GOOD.format(name="shout"))
    info = tmp_path / "shouting-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[harness.skills]\nshout = shouting\n")
    monkeypatch.syspath_prepend(tmp_path)
    app = fake_app(tmp_path / "home")
    assert app.catalogue.skills["shout"].origin == "shouting 1.2"
    assert app.dispatch("/shout x").result.text == "good: x"


def test_reload_finds_what_has_come_and_changed(tmp_path):
    app = lenient(tmp_path)
    folder = plugin(tmp_path / "config" / "skills", "late", GOOD.format(name="late"))
    assert app.dispatch("/reload").result.data["new"] == ["late"]
    assert app.dispatch("/late x").result.text == "good: x"
    code = GOOD.format(name="late").replace('"good: "', '"very good: "')
    (folder / "plugin.py").write_text(code)
    app.dispatch("/reload")
    assert app.dispatch("/late x").result.text == "very good: x"


def test_a_folder_without_plugin_is_a_prompt_skill(tmp_path):
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
    assert user.content == "my abstract"
    found = app.catalogue.skills["rhyme"]
    assert found.skill.summary == "Make it rhyme --- always"
    assert found.problems == ("unknown field 'x'",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no front matter", "no front matter"),
        ("---\nname: x\n---\n", "no description"),
        ("---\nname: [\n---\n", "not YAML"),
        ("---\nname: Upper\ndescription: y\n---\n", "'Upper'"),
    ],
)
def test_an_unusable_skill_file_is_left_out_with_its_reason(tmp_path, text, reason):
    folder = tmp_path / "skills" / "x"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(text)
    [failure] = lenient(tmp_path).catalogue.failures
    assert reason in failure.reason


def test_a_skill_file_with_windows_line_ends(tmp_path):
    folder = tmp_path / "skills" / "x"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_bytes(b"---\r\nname: x\r\ndescription: y\r\n---\r\nBody\r\n")
    assert fake_app(tmp_path).catalogue.skills["x"].skill.file.body == "Body"


def test_a_projects_plugin_with_compiled_files_cannot_be_trusted(tmp_path):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    py_compile.compile(str(folder / "plugin.py"))
    with pytest.raises(UsageError, match="compiled Python"):
        lenient(tmp_path).dispatch("/theirs --trust x")


def test_sources_in_a_cache_folder_count_as_content(tmp_path):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "m.py").write_text("x = 1")
    assert lenient(tmp_path).dispatch("/theirs --trust x").result.text == "good: x"
    (folder / "__pycache__" / "m.py").write_text("x = 2")
    with pytest.raises(NotTrusted):
        lenient(tmp_path).dispatch("/theirs x")


@pytest.mark.parametrize("line", ["/theirs --trust x", "/skills trust theirs"])
def test_a_circle_of_links_cannot_be_trusted(tmp_path, line):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    (folder / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="cannot be trusted"):
        lenient(tmp_path).dispatch(line)


def test_a_projects_plugin_never_takes_the_name_of_the_users_own(tmp_path):
    plugin(tmp_path / "config" / "skills", "echo", GOOD.format(name="echo"))
    plugin(tmp_path / "skills", "echo", GOOD.format(name="echo").replace("good:", "evil:"))
    for _ in range(2):
        app = lenient(tmp_path)
        assert app.dispatch("/echo x").result.text == "good: x"
        [failure] = app.catalogue.failures
        assert failure.origin == str(tmp_path / "skills" / "echo")
        with pytest.raises(UsageError):
            app.dispatch("/skills trust echo")


def test_a_prompt_skill_beside_the_shipped_ones_is_found(tmp_path):
    shipped = tmp_path / "checkout" / "skills"
    folder = shipped / "hello"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: hello\ndescription: d\n---\nSay hello.\n")
    settings = dataclasses.replace(
        fake_settings(tmp_path), shipped_skills=shipped, project_dir=tmp_path / "checkout"
    )
    app = App(settings, Door("test"), Screen(io.StringIO(), io.StringIO()))
    assert "hello" in app.catalogue.skills


def test_compiled_files_of_a_folder_are_never_run(tmp_path):
    """Nobody reads them, so nobody can have trusted them."""
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


def test_a_folder_with_a_link_out_of_it_cannot_be_trusted(tmp_path):
    folder = plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    (tmp_path / "elsewhere").mkdir()
    (folder / "lib").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="leads out of the folder"):
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
def test_trust_is_an_option_and_no_part_of_the_text(tmp_path, line, trusted):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    app = lenient(tmp_path)
    if trusted:
        assert app.dispatch(line).result.text == "good: x"
    else:
        with pytest.raises(NotTrusted):
            app.dispatch(line)


def test_a_trust_that_cannot_be_stored_can_be_given_again(tmp_path):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    app = lenient(tmp_path)
    (tmp_path / "config").write_text("a file where the folder should be")
    for _ in range(2):
        with pytest.raises(OutputError, match="trust cannot be stored"):
            app.dispatch("/theirs --trust x")


def test_a_plugin_that_brings_another_name_than_its_folder_says(tmp_path):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="other"))
    with pytest.raises(UsageError, match="brings no skill /theirs"):
        lenient(tmp_path).dispatch("/theirs --trust x")


def test_duplicates_are_told_even_among_those_that_wait_for_trust(tmp_path):
    plugin(tmp_path / "skills", "theirs", GOOD.format(name="theirs"))
    plugin(tmp_path / ".agents" / "skills", "theirs", GOOD.format(name="theirs"))
    [failure] = lenient(tmp_path).catalogue.failures
    assert failure.origin == str(tmp_path / ".agents" / "skills" / "theirs")
    assert str(tmp_path / "skills" / "theirs") in failure.reason


def test_a_link_in_the_users_own_folder_counts_as_theirs(tmp_path):
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
def test_a_result_that_breaks_when_it_is_used_is_the_skills_failure(tmp_path, line, monkeypatch):
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
