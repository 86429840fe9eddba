"""/skills TEXT and /skills NAME, and the place of skills in /help and in completion."""

import pytest
from plugin_folders import GOOD, lenient, plugin
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from harness import NothingFound, UsageError
from harness.cli import main
from harness.cli.completion import LineCompleter
from harness.testing import FakeModel, fake_app


def prompt(root, name, description, front_matter=""):
    folder = root / name
    folder.mkdir(parents=True)
    text = f"---\nname: {name}\ndescription: {description}\n{front_matter}---\nDo it.\n"
    (folder / "SKILL.md").write_text(text)
    return folder


def completed(app, line):
    document = Document(line, len(line))
    completer = LineCompleter(lambda: app.catalogue)
    return [c.text for c in completer.get_completions(document, CompleteEvent())]


@pytest.fixture
def app(tmp_path):
    """An application with two prompt skills of a project, one of the user, and a plugin."""
    project = tmp_path / "skills"
    prompt(project, "release-notes", "Writes release notes from commits.", "license: MIT\n")
    prompt(project, "pdf", "Reads PDF files.", "metadata:\n  version: 1.0\n")
    prompt(tmp_path / "config" / "skills", "commit", "Writes a commit message.", "x: y\n")
    prompt(tmp_path / "config" / "skills", "pdf", "Another one.")
    plugin(project, "theirs", GOOD.format(name="theirs"))
    return lenient(tmp_path)


def test_text_filters_by_name_origin_and_description(app):
    assert "/release-notes" in (text := app.dispatch("/skills commit writes").result.text)
    assert "/commit" in text
    assert "/pdf" not in text
    found = app.dispatch("/skills config/skills").result.data
    assert [one["name"] for one in found["skills"]] == ["commit"]
    assert [one["name"] for one in found["shadowed"]] == ["pdf"]


def test_text_that_matches_nothing_exits_with_1(app):
    with pytest.raises(NothingFound, match=r"'comit'\. Did you mean commit"):
        app.dispatch("/skills comit")
    with pytest.raises(NothingFound, match="Did you mean disable"):
        app.dispatch("/skills disalbe")


def test_name_shows_origin_fields_and_problems(app, tmp_path):
    outcome = app.dispatch("/skills pdf").result
    mine, theirs = tmp_path / "config" / "skills" / "pdf", tmp_path / "skills" / "pdf"
    assert outcome.text.splitlines() == [
        "/pdf: Reads PDF files.",
        "",
        f"from       {theirs}",
        "called by  users and models",
        "metadata   version: 1.0",
        f"/pdf ({mine}) is not loaded: the skill from {theirs} has the same name",
    ]
    assert outcome.data["skills"][0]["owner"] == "project"
    assert "problem: unknown field 'x'" in app.dispatch("/skills /commit").result.text


def test_name_of_an_untrusted_or_disabled_skill(app):
    assert "is not trusted: read it" in app.dispatch("/skills theirs").result.text
    app.dispatch("/skills disable commit")
    assert "`/skills enable commit`" in app.dispatch("/skills commit").result.text


def test_help_groups_the_skills(app):
    text = app.dispatch("/help").result.text
    commands, project, own = text.split("\n\n")
    assert "  /annotate " in commands
    assert project.splitlines() == [
        "Skills of this project:",
        "  /pdf            Reads PDF files.",
        "  /release-notes  Writes release notes from commits.",
    ]
    assert own.splitlines() == ["Your skills:", "  /commit  Writes a commit message."]


def test_help_with_many_skills_is_one_screen(tmp_path):
    for number in range(150):
        prompt(tmp_path / "skills", f"task-number-{number}", "Does a task. " * 70)
        prompt(tmp_path / "config" / "skills", f"own-task-{number}", "Does a task. " * 70)
    app = fake_app(tmp_path)
    lines = app.dispatch("/help").result.text.splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) <= 96
    assert "Skills of this project (150; `/skills TEXT` searches them):" in lines
    names = sum(line.count("/task-number-") for line in lines)
    assert f"  ... and {150 - names} more" in lines
    with pytest.raises(UsageError) as unknown:
        app.dispatch("/no-such-skill")
    assert len(str(unknown.value)) < 200


@pytest.mark.parametrize("value", ["false", "no", "'off'", "False"])
def test_skill_for_models_only_is_hidden_from_the_user(tmp_path, value):
    field = f"user-invocable: {value}\n"
    prompt(tmp_path / "skills", "hidden", "Writes release notes from commits.", field)
    app = lenient(tmp_path)
    assert "/hidden" not in app.dispatch("/help").result.text
    assert "/hidden" not in completed(app, "/hid")
    assert "called by       models" in app.dispatch("/skills hidden").result.text
    with pytest.raises(UsageError, match="/hidden is for models only"):
        app.dispatch("/hidden text")


@pytest.mark.parametrize("value", ["true", "yes", "on", "True"])
def test_skill_for_users_only_is_not_activated(tmp_path, value):
    field = f"disable-model-invocation: {value}\n"
    prompt(tmp_path / "skills", "notes", "Writes release notes from commits.", field)
    app = fake_app(tmp_path, FakeModel("chat"))
    app.dispatch("write release notes from commits")
    assert "-> /notes (auto)" not in app.screen.err.getvalue()
    assert app.dispatch("/skills notes").result.data["skills"][0]["for_models"] is False


def test_completion_of_names_and_sources(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"pdf", "theirs", "disable"} <= set(completed(app, "/skills "))
    assert "pdf" in completed(app, "/skills test p")
    assert "--all" in completed(app, "/skills add --")
    assert "skills/" in completed(app, "/skills add sk")
    assert completed(app, "/skills disable sk") == []


def test_flags_of_a_prompt_skill_are_its_text(tmp_path):
    prompt(tmp_path / "skills", "args", "Repeats its arguments.")
    model = FakeModel("done")
    app = fake_app(tmp_path, model)
    outcome = app.dispatch("--json /args 42 --force --unknown=1")
    assert outcome.general.as_json
    assert not outcome.general.force
    assert "42 --force --unknown=1" in model.requests[-1].conversation[-1].content
    assert completed(app, "/args --") == []
    assert "General options, before the name: --json" in app.dispatch("/help args").result.text


def test_options_stand_before_the_name_on_the_command_line(tmp_path, monkeypatch, capsys):
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    assert main.main(["--json", "/help help"]) == 0
    assert capsys.readouterr().out.startswith("{")
