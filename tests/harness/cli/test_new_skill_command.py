"""/new-skill: the created skill works, is trusted, and is created completely or not at all."""

import ast
import dataclasses
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import skill_project
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from skill_project import GIST

from harness.agent_skills import scaffold, skill_md
from harness.cli.app import App
from harness.cli.interactive_session import Repl
from harness.errors import NotTrusted, OutputError, UsageError
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_app, folder_skill


def snapshot(folder):
    """Return all paths below the folder, except the harness's own files."""
    own = {"config", "data", "cache"}
    return sorted(
        str(p.relative_to(folder))
        for p in folder.rglob("*")
        if p.relative_to(folder).parts[0] not in own
    )


def pytest_run(where, cwd, *arguments):
    """Run pytest on `where` without the configuration of this run."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *where, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(CODE_ROOT)},
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    return skill_project.make(tmp_path, monkeypatch)


def agent(project, line, *general):
    return subprocess.run(
        [sys.executable, CODE_ROOT / "agent.py", *general, line],
        capture_output=True,
        text=True,
        cwd=project,
    )


def test_new_skill_works(project):
    made = agent(project, "/new-skill summarize")
    assert (made.returncode, made.stderr) == (0, "")
    assert snapshot(project / "skills" / "summarize") == [
        "SKILL.md",
        "plugin.py",
        "pytest.ini",
        "test_summarize.py",
    ]
    abstract = CODE_ROOT / "examples" / "abstract.txt"
    used = agent(project, f"/summarize {abstract} save to gist.md")
    assert (used.returncode, used.stdout) == (0, ""), used.stderr
    assert (project / "gist.md").read_text() == GIST + "\n"
    listed = json.loads(agent(project, "/skills", "--json").stdout)
    assert not listed["untrusted"]
    [found] = [skill for skill in listed["skills"] if skill["name"] == "summarize"]
    assert found["problems"] == []


def test_new_skill_runs_as_printed_with_the_embedded_models_alone(tmp_path, monkeypatch):
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    made = agent(tmp_path, "/new-skill gist", "--json")
    [run, _] = json.loads(made.stdout)["next"]
    used = subprocess.run(run, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert used.returncode == 0, used.stderr
    assert used.stdout.startswith("Snow melts in April. Melting snow fills the rivers.")
    assert "Nobody complains" not in used.stdout
    made = agent(tmp_path, "/new-skill ask --prompt-only")
    assert "It needs a model that can chat: no available model is fit for chat" in made.stdout


@pytest.mark.parametrize("how", ["path", "inside", "all"])
def test_created_test_passes_and_keeps_trust(project, how):
    """Neither pytest's cache nor compiled tests may be written to the folder."""
    assert agent(project, "/new-skill word-count").returncode == 0
    folder = project / "skills" / "word-count"
    before = snapshot(folder)
    where, cwd = {
        "path": (["skills/word-count"], project),
        "inside": ([], folder),
        "all": ([], project),
    }[how]
    for _ in range(2):
        done = pytest_run(where, cwd)
        assert done.returncode == 0, done.stdout
        assert "6 passed" in done.stdout
    assert snapshot(folder) == before
    assert agent(project, "/word-count A text.").stdout == GIST + "\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("call.options.sentences", "7"),
        ("call.read_text()", "call.text"),
        ("raise InvalidReply", "print"),
    ],
)
def test_created_test_fails_for_a_broken_skill(project, old, new):
    assert agent(project, "/new-skill summarize").returncode == 0
    plugin = project / "skills" / "summarize" / "plugin.py"
    assert old in plugin.read_text()
    plugin.write_text(plugin.read_text().replace(old, new))
    assert pytest_run(["skills/summarize"], project).returncode == 1


def test_edit_ends_trust_until_it_is_given_again(project):
    assert agent(project, "/new-skill summarize").returncode == 0
    plugin = project / "skills" / "summarize" / "plugin.py"
    plugin.write_text(plugin.read_text() + "# changed\n")
    refused = agent(project, "/summarize A text.")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--trust" in refused.stderr
    assert agent(project, "/summarize --trust A text.").stdout == GIST + "\n"
    plugin.write_text(plugin.read_text() + "# again\n")
    assert agent(project, "/skills trust summarize").returncode == 0
    assert agent(project, "/summarize A text.").stdout == GIST + "\n"


def test_new_skill_in_a_session_after_reload(tmp_path):
    app = fake_app(tmp_path, FakeModel(GIST))
    lines = ["/new-skill summarize", "/reload", "/summarize A text."]
    with create_pipe_input() as keys:
        keys.send_text("".join(f"{line}\r" for line in lines) + "\x04")
        Repl(app, keys, DummyOutput()).run()
    said = app.screen.out.getvalue()
    assert "new: /summarize" in said
    assert said.endswith(GIST + "\n")


def test_prompt_only(tmp_path):
    model = FakeModel(GIST)
    app = fake_app(tmp_path, model)
    made = app.dispatch("/new-skill --prompt-only gist").result
    assert made.data["files"] == ["SKILL.md"]
    assert "trust" not in made.text
    file = skill_md.read(tmp_path / "skills" / "gist" / "SKILL.md")
    assert file.problems == ()
    app.dispatch("/reload")
    assert app.dispatch("/gist A text.").result.text == GIST
    assert (
        skill_md.body_of(file.path.read_bytes(), file.path) in model.requests[0].messages[0].content
    )


def test_own_skill_needs_no_trust(tmp_path):
    app = fake_app(tmp_path, FakeModel(GIST))
    made = app.dispatch("/new-skill gist --own").result
    assert made.data["folder"] == str(tmp_path / "config" / "skills" / "gist")
    assert "trust" not in made.text
    plugin = tmp_path / "config" / "skills" / "gist" / "plugin.py"
    plugin.write_text(plugin.read_text() + "# changed\n")
    app.dispatch("/reload")
    assert app.dispatch("/gist A text.").result.text == GIST


def test_skill_in_another_folder(tmp_path):
    app = fake_app(tmp_path)
    made = app.dispatch("/new-skill gist --folder elsewhere").result
    assert (tmp_path / "elsewhere" / "gist" / "plugin.py").is_file()
    assert f"once its folder is in {tmp_path / 'skills'}" in made.text
    made = app.dispatch("/new-skill --folder .agents/skills gist").result
    assert "once its folder" not in made.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/new-skill My Skill", "'My Skill' is not lower-case.* Try `/new-skill my-skill`"),
        ("/new-skill naïve--word_count", "Try `/new-skill naive-word-count`"),
        ("/new-skill Größe", "Try `/new-skill grosse`"),
        ("/new-skill ../../evil", "Try `/new-skill evil`"),
        ("/new-skill 日本", "Try `/new-skill summarize`"),
        (
            f"/new-skill {'a' * 65}",
            f"has 65 characters, 64 are allowed. Try `/new-skill {'a' * 64}`",
        ),
        ("/new-skill", "needs NAME"),
        ("/new-skill help", r"/help is already taken \(built in"),
        ("/new-skill /annotate", r"/annotate is already taken \(built in"),
        ("/new-skill waiting", r"/waiting is already taken \(.*waiting"),
        ("/new-skill --package annotate", r"/annotate is already taken \(built in"),
        (
            "/new-skill --prompt-only --package gist",
            "--prompt-only and --package do not go together",
        ),
        ("/new-skill --own --package gist", "--own and --package do not go together"),
        ("/new-skill --own --folder x gist", "--own and --folder do not go together"),
    ],
)
def test_refused_before_anything_is_written(tmp_path, line, message):
    waiting = tmp_path / ".agents" / "skills" / "waiting"
    waiting.mkdir(parents=True)
    (waiting / "SKILL.md").write_text("---\nname: waiting\ndescription: waits for trust\n---\n")
    (waiting / "plugin.py").touch()
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match=message):
        fake_app(tmp_path).dispatch(line)
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "config" / "trusted.json").exists()


@pytest.mark.parametrize("kind", ["", "--package "])
def test_disabled_name_is_refused(tmp_path, kind):
    app = fake_app(tmp_path)
    app.dispatch("/skills disable gist")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match=r"/gist is disabled.*`/skills enable gist`"):
        app.dispatch(f"/new-skill {kind}gist")
    assert snapshot(tmp_path) == before
    app.dispatch("/skills enable gist")
    app.dispatch(f"/new-skill {kind}gist")


@pytest.mark.parametrize("kind", ["", "--prompt-only "])
@pytest.mark.parametrize("name", ["on", "1e3", "null", "2024-01-01", "a" * 64])
def test_created_skill_md_is_valid(tmp_path, kind, name):
    fake_app(tmp_path).dispatch(f"/new-skill --own {kind}{name}")
    found = fake_app(tmp_path).catalogue.skills[name]
    assert found.file.name == name
    assert found.problems == ()


@pytest.mark.parametrize("thing", ["folder", "file", "dangling link"])
def test_existing_files_are_kept(tmp_path, thing):
    (tmp_path / "skills").mkdir()
    place = tmp_path / "skills" / "gist"
    if thing == "folder":
        place.mkdir()
    elif thing == "file":
        place.write_text("mine")
    else:
        place.symlink_to("nowhere")
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match="exists already") as refused:
        fake_app(tmp_path).dispatch("/new-skill gist --force")
    assert refused.value.exit_code == 4
    assert snapshot(tmp_path) == before


def test_unwritable_folder(tmp_path):
    (tmp_path / "skills").write_text("a file")
    with pytest.raises(OutputError, match="cannot be created: Not a directory"):
        fake_app(tmp_path).dispatch("/new-skill gist")
    assert snapshot(tmp_path) == ["skills"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", ["pytest.ini", "test_gist.py"])
def test_failed_creation_leaves_nothing(tmp_path, monkeypatch, error, at):
    app = fake_app(tmp_path)
    write = type(tmp_path).write_text

    def failing(path, *args, **kwargs):
        if path.name == at:
            raise error
        return write(path, *args, **kwargs)

    monkeypatch.setattr(type(tmp_path), "write_text", failing)
    with pytest.raises(Exception, match=r"No space left|interrupted"):
        app.dispatch("/new-skill gist")
    assert snapshot(tmp_path) == []


def test_failed_trust_leaves_nothing(tmp_path):
    app = fake_app(tmp_path)
    (tmp_path / "config" / "trusted.json").mkdir()
    with pytest.raises(OutputError, match="trust cannot be stored"):
        app.dispatch("/new-skill gist")
    assert snapshot(tmp_path) == []


@pytest.mark.parametrize("name", ["none", "skill", "call", "123", "x1-2", "json", "a" * 64])
def test_any_valid_name_gives_valid_python(tmp_path, name):
    app = fake_app(tmp_path, FakeModel(GIST))
    app.dispatch(f"/new-skill {name}")
    app.dispatch("/reload")
    assert app.dispatch(f"/{name} A text.").result.text == GIST
    for path, text in scaffold.files(name, "package").items():
        if path.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads(scaffold.files(name, "package")["pyproject.toml"])["project"]
    assert project["entry-points"]["harness.skills"] == {
        name: f"harness_{name.replace('-', '_')}.plugin"
    }


def test_package_passes_its_test_uninstalled(project):
    made = agent(project, "/new-skill --package word-count")
    assert made.returncode == 0, made.stderr
    assert "-m pip install ./word-count" in made.stdout
    assert "trusted" not in made.stdout
    done = pytest_run(["word-count"], project)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


@pytest.mark.parametrize("parent", ["sub/..", "{tmp_path}/with blank"])
def test_the_printed_path_of_a_package_is_its_path(tmp_path, parent):
    project = tmp_path / "project"
    made = fake_app(project).dispatch(
        f"/new-skill gist --package --folder '{parent.format(tmp_path=tmp_path)}'"
    )
    words = shlex.split(made.result.data["next"][0])
    assert (project / words[-1]).samefile(made.result.data["folder"])


def test_package_of_a_skill_in_a_folder(tmp_path):
    app = fake_app(tmp_path)
    app.dispatch("/new-skill gist")
    app.dispatch("/reload")
    assert app.dispatch("/new-skill gist --package").result.data["kind"] == "package"


def test_created_files_pass_ruff_and_mypy(tmp_path):
    app = fake_app(tmp_path)
    app.dispatch("/new-skill word-count")
    app.dispatch("/new-skill --package packed")
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    lint = tomllib.loads((CODE_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    rules = ["--select", ",".join([*lint["lint"]["select"], "ANN"]), "--ignore", "S101,TC"]
    how = ["--isolated", "--line-length", str(lint["line-length"])]
    for command in (["check", *rules], ["format", "--check"]):
        for folder in (tmp_path / "skills", tmp_path / "packed"):
            done = subprocess.run(
                [ruff, *command, *how, "."], capture_output=True, text=True, cwd=folder
            )
            assert done.returncode == 0, done.stdout + done.stderr


def test_checks_exclude_user_folders(tmp_path):
    """To mypy, two folders with hyphens would be two modules of one name."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(CODE_ROOT / name, tmp_path)
    for file in ("annotate/__init__.py", "gist/plugin.py", "my-skill/plugin.py"):
        (tmp_path / "skills" / file).parent.mkdir(parents=True)
        (tmp_path / "skills" / file).touch()
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "check"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if "exclude" in line]
    assert len(lines) == 3, "ruff check, ruff format, mypy"
    for line in lines:
        assert re.findall(r"exclude \^?(\S+)", line) == ["skills/gist/", "skills/my-skill/"]


def test_created_skill_may_be_used_by_a_model(tmp_path):
    app = fake_app(tmp_path)
    app.dispatch("/new-skill gist")
    for folder in (tmp_path / "skills" / "gist", CODE_ROOT / "examples" / "skills" / "blind-check"):
        skill = folder_skill(folder)
        assert skill.effects(skill.Options(), "") == ""


def test_every_template_is_packaged_and_used():
    project = tomllib.loads((CODE_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    templates = {p for p in scaffold.TEMPLATES.rglob("*") if p.is_file()}
    assert {p for p in templates if any(fnmatch.fnmatch(p.name, g) for g in patterns)} == templates
    made = {text for kind in ("plugin", "prompt", "package") for text in scaffold.files("x", kind)}
    assert {"SKILL.md", "plugin.py", "pyproject.toml", ".gitignore", "README.md"} <= made


def test_trust_is_limited_to_the_created_content(tmp_path):
    app = fake_app(tmp_path)
    app.dispatch("/new-skill gist")
    (tmp_path / "skills" / "gist" / "more.py").write_text("x = 1")
    settings = dataclasses.replace(app.settings)
    with pytest.raises(NotTrusted):
        App(settings, Frontend("test"), Screen()).dispatch("/gist A text.")
