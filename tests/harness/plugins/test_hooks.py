"""All hooks, with the plugin tests/support/plugin_of_everything.py that uses them all."""

import json
import types
from pathlib import Path

import plugin_of_everything
import pytest
from plugin_folders import GOOD
from plugin_folders import lenient as lenient_app
from plugin_folders import plugin as plugin_folder
from pydantic import ValidationError

from harness import Format, Result, RunFinished, RunStarted, Skill, hookimpl
from harness.api import hookspecs
from harness.errors import SkillFailed, UsageError
from harness.testing import (
    FakeModel,
    assert_refuses,
    assert_saves,
    fake_app,
    run_skill,
    temporary_registry,
)
from skills.annotate.plugin import Annotate
from skills.nanda.framework import nanda

MOVES = json.dumps({name: f"The word of the {name}." for name in nanda().names})
ABSTRACT = "word " * 40


@pytest.fixture(autouse=True)
def told():
    """The events that the plugin receives."""
    plugin_of_everything.Listener.told.clear()
    return plugin_of_everything.Listener.told


def app_with(tmp_path, model=None, *skills, plugin=plugin_of_everything):
    return fake_app(tmp_path, model, *skills, plugins={"everything": plugin})


def lenient(app):
    """The same application with failures recorded instead of raised."""
    import dataclasses

    app.settings = dataclasses.replace(app.settings, strict_plugins=False)
    return app


def broken(tmp_path, plugin):
    """Return the reason why a plugin is left out."""
    app = lenient(fake_app(tmp_path))
    app._plugins["broken"] = plugin
    app.reload()
    [failure] = app.catalogue.failures
    assert app.dispatch("/help").result.text
    return failure.reason


def test_hookspecs_is_the_table_of_contents():
    specs = [n for n, v in vars(hookspecs).items() if hasattr(v, f"{hookspecs.PROJECT}_spec")]
    named = [line.split()[0] for line in hookspecs.__doc__.splitlines() if line.startswith("    ")]
    assert named == specs
    implemented = [n for n, v in vars(plugin_of_everything).items() if hasattr(v, "harness_impl")]
    assert implemented == specs


def test_skill_and_backend_of_a_plugin(tmp_path):
    serve = [{"backend": "parrot", "model": "polly"}]
    with temporary_registry({"producer": {"tasks": ["chat"], "serve": serve}}) as registry:
        app = fake_app(tmp_path, plugins={"everything": plugin_of_everything}, registry=registry)
        assert app.dispatch("/ask --tone curt hello").result.text == "hello"


def test_framework_of_a_plugin(tmp_path):
    app = app_with(tmp_path, FakeModel('{"aim": "A word.", "result": "It acts."}'))
    record = app.dispatch(f"/annotate --framework two-moves {ABSTRACT}").result.data
    assert (record["aim"], record["result"]) == ("A word.", "It acts.")
    shown = app.dispatch("/skills").result
    assert {f["name"] for f in shown.data["frameworks"]} == {"nanda", "two-moves"}
    assert "framework two-moves (built in): " in shown.text


def test_unknown_framework_is_refused(tmp_path):
    assert_refuses(
        app_with(tmp_path),
        f"/annotate --framework nosuch {ABSTRACT}",
        "no framework or file nosuch",
        "Plugins provide nanda, two-moves.",
    )


@pytest.mark.parametrize("name", ["annotate", "corpus", "curate", "evaluate", "finetune"])
def test_all_skills_accept_frameworks(tmp_path, name):
    properties = app_with(tmp_path).dispatch(f"/help {name}").result.data["options"]["properties"]
    assert "a framework from a plugin" in properties["framework"]["description"]


def test_format_of_a_plugin(tmp_path):
    app = app_with(tmp_path, FakeModel(MOVES))
    one = assert_saves(app, f"/annotate --title One {ABSTRACT}", tmp_path / "one.org")
    assert "* One\n" in one.read_text()
    asked = assert_saves(app_with(tmp_path, FakeModel("An answer")), "/ask x", tmp_path / "x.org")
    assert asked.read_text() == "* An answer\n  1\n"


def test_format_receives_records_one_by_one(tmp_path):
    table = tmp_path / "papers.csv"
    rows = "".join(f"{n},Paper {n},{ABSTRACT}{n}\n" for n in range(3))
    table.write_text(f"paper_id,title,abstract\n{rows}")
    app = app_with(tmp_path, FakeModel(MOVES))
    text = assert_saves(app, f"/annotate {table}", tmp_path / "all.org").read_text()
    assert text.splitlines()[1::2] == ["  0", "  1", "  2"]
    corpus = assert_saves(app, "/corpus export", tmp_path / "corpus.org").read_text()
    assert sorted(corpus.split("*")) == sorted(text.split("*"))


def test_format_is_listed_or_refused(tmp_path):
    app = app_with(tmp_path)
    help_of = {n: app.dispatch(f"/help {n}").result for n in ("annotate", "finetune")}
    assert ", .org (save to PATH" in help_of["annotate"].text
    assert help_of["annotate"].data["saves"][-1] == ".org"
    assert ".org" not in help_of["finetune"].text
    assert "format .org (built in): headings for Org mode" in app.dispatch("/skills").result.text
    assert_refuses(app, "/ask x save to x.tex", "cannot save to the suffix .tex", ".txt, .org")
    assert_refuses(app, "/finetune dataset save to x.org", "cannot save to the suffix .org")
    (tmp_path / "x.org").write_text("mine")
    assert_refuses(app, f"/ask x save to {tmp_path}/x.org", "exists already", code=4)


class Selective(Format):
    suffix = ".txt"
    summary = "for one skill, and for a suffix that another has"
    skills = frozenset({"ask", "models"})

    def write(self, records, file):
        raise ValueError("no luck")


class Brings:
    """A plugin with one hook that registers one object."""

    def __init__(self, hook, *given):
        def register_it(register):
            register(*given)

        setattr(self, hook, hookimpl(register_it))


def test_own_suffix_precedes_a_format(tmp_path):
    app = app_with(tmp_path, FakeModel("An answer"))
    app._plugins["selective"] = Brings("register_formats", Selective())
    app.reload()
    assert app.dispatch("/help ask").result.data["saves"] == [".txt", ".org"]
    own = assert_saves(app, "/ask x", tmp_path / "x.txt")
    assert own.read_text() == "An answer\n"
    with pytest.raises(SkillFailed, match=r"format \.txt \(built in\) failed: ValueError: no luck"):
        app.dispatch(f"/models save to {tmp_path}/m.txt")
    assert not (tmp_path / "m.txt").exists()
    assert_refuses(app, "/skills save to s.txt", "cannot save to the suffix .txt")


class Silent(Skill):
    name = "silent"
    summary = "has nothing to save"
    text = "none"

    def run(self, call):
        return Result()


def test_result_without_records_is_a_failure(tmp_path):
    with pytest.raises(SkillFailed, match=r"no result to save as \.org"):
        app_with(tmp_path, None, Silent()).dispatch(f"/silent save to {tmp_path}/x.org")
    assert not (tmp_path / "x.org").exists()


@pytest.mark.parametrize(
    ("result", "records"),
    [
        (Result("a"), [{"text": "a"}]),
        (Result("a", {"b": 1}), [{"b": 1}]),
        (Result(data=[1, 2]), [1, 2]),
        (Result("a", {"b": 1}, records=lambda: (n for n in (3, 4))), [3, 4]),
    ],
)
def test_records_of_a_result(result, records):
    assert list(result.each()) == records
    assert result.has_records


def bad_format(**attributes):
    return type("Bad", (Selective,), attributes)()


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (Brings("register_frameworks", "Two Moves", nanda), "framework name 'Two Moves'"),
        (Brings("register_frameworks", "two", "nosuch.yaml"), "two has no such file: nosuch.yaml"),
        (Brings("register_frameworks", "nanda", plugin_of_everything.Path(__file__)), "already"),
        (Brings("register_formats", object()), "object is not a harness.Format"),
        (Brings("register_formats", bad_format(suffix="bib")), "suffix 'bib' of a format"),
        (Brings("register_formats", bad_format(summary=" ")), "format .txt has no summary"),
        (Brings("register_formats", bad_format(skills="ask")), "skills is a string"),
        (Brings("run_ended", 1), "unknown hook 'run_ended'"),
        (Brings("run_started", 1), "Argument(s) {'register'} are declared"),
    ],
)
def test_invalid_contributions(tmp_path, plugin, reason):
    assert reason in broken(tmp_path, plugin)


def test_second_format_of_a_suffix_is_left_out(tmp_path):
    app = lenient(app_with(tmp_path))
    app._plugins["second"] = Brings("register_formats", bad_format(suffix=".org"))
    app.reload()
    [failure] = app.catalogue.failures
    assert failure.reason == "there is already a format .org, from built in"


def test_events_of_a_run(tmp_path, told):
    app = app_with(tmp_path, FakeModel("An answer"))
    app.dispatch(f"/ask --tone curt a secret save to {tmp_path}/x.txt")
    started, finished = told
    assert type(started) is RunStarted
    assert type(finished) is RunFinished
    [row] = app.run_log.recent(1)
    assert (started.id, started.skill, started.subcommand, started.door) == (
        row["id"],
        "ask",
        "",
        "test",
    )
    assert started.started.utcoffset().total_seconds() == 0
    assert (finished.id, finished.status, finished.exit_code) == (row["id"], "done", 0)
    assert (finished.requested, finished.resolved) == ("producer", "producer")
    assert finished.completion_tokens == 2
    assert finished.written == (tmp_path / "x.txt",)
    assert finished.error_type is None
    assert "secret" not in repr(told)
    assert "curt" not in repr(told)


def test_events_of_a_failed_run(tmp_path, told):
    app = app_with(tmp_path, FakeModel(SkillFailed("no luck")))
    with pytest.raises(SkillFailed):
        app.dispatch("/ask x")
    finished = told[-1]
    assert (finished.status, finished.exit_code) == ("failed", 1)
    assert finished.error_type == "SkillFailed"


@pytest.mark.parametrize("line", ["/ask --no-log x", "/help", "/ask save to x.nosuch", "/nosuch"])
def test_no_events_of_runs_that_are_not_logged(tmp_path, told, line):
    app = app_with(tmp_path, FakeModel("An answer"))
    if line.endswith("nosuch"):
        with pytest.raises(UsageError):
            app.dispatch(line)
    else:
        app.dispatch(line)
    assert told == []


class BrokenListener:
    def __init__(self, error):
        self.error = error
        self.calls = 0

    @hookimpl
    def run_finished(self, run):
        self.calls += 1
        print("on stdout")
        raise self.error


@pytest.mark.parametrize("error", [ValueError("no luck"), SystemExit(3), KeyboardInterrupt()])
def test_failing_listener_is_shown_once(tmp_path, told, capsys, error):
    listener = BrokenListener(error)
    app = fake_app(
        tmp_path,
        FakeModel("An answer"),
        plugins={"broken": listener, "everything": plugin_of_everything},
    )
    for _ in range(2):
        assert app.dispatch("/ask x").result.text == "An answer"
    said = app.screen.err.getvalue()
    assert said.count("plugin broken receives no more events: its run_finished failed: ") == 1
    assert type(error).__name__ in said
    assert capsys.readouterr().out == ""
    assert listener.calls == 1
    assert len(told) == 4, "the other listener hears of every run"
    assert [run["status"] for run in app.run_log.recent(2)] == ["done", "done"]


LISTENER = """
import os, time
from harness import hookimpl

@hookimpl
def run_finished(run):
    print("on stdout")
    {work}
"""


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("time.sleep(600)", "its run_finished failed: not finished within 2 s ("),
        ("raise KeyboardInterrupt", "its run_finished failed: KeyboardInterrupt ("),
    ],
)
def test_third_party_listener_has_a_deadline(tmp_path, capsys, work, said):
    own = tmp_path / "config" / "skills"
    folder = plugin_folder(own, "listens", LISTENER.format(work=work))
    plugin_folder(own, "good", GOOD.format(name="good"))
    app = lenient_app(tmp_path, deadline=2)
    for _ in range(2):
        assert app.dispatch("/good x").result.text == "good: x"
    notices = app.screen.err.getvalue().splitlines()
    told_of = [line for line in notices if line.startswith("plugin listens")]
    [line] = told_of
    assert said in line
    assert line.endswith(f"({folder})")
    assert [run["status"] for run in app.run_log.recent(2)] == ["done", "done"]
    assert capsys.readouterr().out == ""


def test_events_are_immutable(tmp_path, told):
    app_with(tmp_path, FakeModel("x")).dispatch("/ask x")
    with pytest.raises((AttributeError, ValidationError)):
        told[0].skill = "other"


class Stated:
    """A plugin that states a hook version."""

    def __init__(self, version):
        self.harness_api = version

    @hookimpl
    def register_skills(self, register):
        register(Silent())


@pytest.mark.parametrize("version", ["1", "1.0", None])
def test_plugin_of_this_hook_version_is_loaded(tmp_path, version):
    app = fake_app(tmp_path, plugins={"stated": Stated(version)})
    assert "silent" in app.catalogue.skills


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("0.9", "written for version 0.9 of the hooks, and this harness has 1.0"),
        ("2", "needs version 2 of the hooks, and this harness has 1.0. Install a newer"),
        ("1.1", "needs version 1.1 of the hooks"),
        (1, "harness_api is 1; it must be like"),
        ("one", "harness_api is 'one'; it must be like"),
    ],
)
def test_plugin_of_another_hook_version_is_left_out(tmp_path, version, reason):
    assert reason in broken(tmp_path, Stated(version))


@pytest.fixture
def older_hooks(monkeypatch):
    """The hooks of a later version with two deprecated features."""
    later = types.SimpleNamespace(**vars(hookspecs))

    def register_commands(register):
        """As it was called before."""

    @hookspecs.hookspec(warn_on_impl_args={"count": DeprecationWarning("count is gone in 2.0")})
    def run_started(run, count):
        """With an argument that it had before."""

    gone = DeprecationWarning("register_commands is register_skills; it is gone in 2.0")
    later.register_commands = hookspecs.hookspec(warn_on_impl=gone)(register_commands)
    later.run_started = run_started
    monkeypatch.setattr("harness.plugins.loader.hookspecs", later)


class Older:
    @hookimpl
    def register_skills(self, register):
        register(Silent())

    @hookimpl
    def register_commands(self, register):
        raise AssertionError("nobody calls it any more")


class OlderArgument:
    @hookimpl
    def run_started(self, run, count):
        """Takes what is deprecated."""


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (Older(), "register_commands is register_skills; it is gone in 2.0"),
        (OlderArgument(), "count is gone in 2.0"),
    ],
)
def test_deprecated_hooks_are_reported(tmp_path, older_hooks, plugin, said):
    with pytest.warns(DeprecationWarning, match=said):
        app = fake_app(tmp_path, plugins={"older": plugin})
    shown = app.dispatch("/skills").result
    assert shown.data["remarks"] == [f"older (built in): {said}"]
    assert f"older (built in): {said}" in shown.text
    assert not app.catalogue.failures


def test_run_skill_with_a_framework(tmp_path):
    """`run_skill` passes frameworks without an application."""
    named = {"two-moves": Path(plugin_of_everything.__file__).with_name("two_moves.yaml")}
    model = FakeModel('{"aim": "A word.", "result": "It acts."}')
    options = {"framework": "two-moves", "db": tmp_path / "corpus.db"}
    result = run_skill(Annotate(), ABSTRACT, model=model, options=options, frameworks=named)
    assert result.data["aim"] == "A word."
