"""What start-up imports: no engine, no training library, no client, and no shipped skill."""

import dataclasses
import io
import json
import shutil
import subprocess
import sys

import pytest

from harness.cli.app import App
from harness.plugins.plugin_checks import check_skill
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import fake_app, fake_settings

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "xllamacpp",
    "llguidance",
    "ollama",
    "openai",
    "arxiv",
    "requests",
    "httpx",
    "jinja2",
    "rapidfuzz",
    "numpy",
    "scipy",
    "sklearn",
    "krippendorff",
    "pyarrow",
    "duckdb",
    "rich",
    "yaml",
    "mcp",
    "anyio",
    "pydantic",
    "ray",
    "starlette",
    "uvicorn",
    "grpc",
)

HELP = "from harness.cli import main; main.main(['--help'])"
PROMPT = """
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from harness import settings
from harness.cli import interactive_session
from harness.cli.app import App
from harness.runs.frontend import Frontend
app = App(settings.from_environment(), Frontend("repl"))
with create_pipe_input() as keys:
    keys.send_text("\\x04")
    interactive_session.Repl(app, keys, DummyOutput()).run()
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(HELP, id="help"),
        pytest.param(PROMPT, id="first-prompt"),
    ],
)
def test_no_heavy_package_and_no_skill_is_imported(tmp_path, code, monkeypatch):
    for name in ("CACHE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name))

    def start():
        tail = "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", code + tail],
            capture_output=True,
            text=True,
            cwd=CODE_ROOT,
            check=True,
        )
        *shown, modules = done.stdout.splitlines()
        return shown, set(json.loads(modules))

    shown, first = start()
    assert "skills.annotate.plugin" in first, "the first start imports what it indexes"
    again, modules = start()
    assert again == shown
    assert "harness.cli.app" in modules
    assert modules.isdisjoint(HEAVY)
    assert not any(name.startswith("skills.") for name in modules)


PLUGIN = """
from harness import Result, Skill, hookimpl

class Echo(Skill):
    name = "echo"
    summary = "{summary}"
    triggers = ("echo (?P<text>.+)",)

    def run(self, call):
        return Result(call.text)

@hookimpl
def register_skills(register):
    register(Echo())
"""


@pytest.fixture
def shipped(tmp_path):
    """A folder of shipped plugins with one skill."""
    for path, text in {
        "__init__.py": "",
        "echo/__init__.py": "",
        "echo/SKILL.md": "---\nname: echo\ndescription: Repeats a text.\n---\nUse it.\n",
        "echo/plugin.py": PLUGIN.format(summary="Repeat a text"),
    }.items():
        (tmp_path / "shipped" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shipped" / path).write_text(text)
    return tmp_path / "shipped"


@pytest.fixture
def start(tmp_path, shipped):
    """Start the application in a process that has imported no skill."""

    def forget():
        skills = [name for name in sys.modules if name.partition(".")[0] == "skills"]
        return {name: sys.modules.pop(name) for name in skills}

    def started():
        forget()
        settings = dataclasses.replace(fake_settings(tmp_path), shipped_skills=shipped)
        return App(settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))

    before = forget()
    yield started
    forget()
    sys.modules.update(before)


def test_indexed_skill_is_imported_on_first_use(start):
    start()
    app = start()
    found = app.catalogue.skills["echo"]
    assert (found.summary, found.file.description) == ("Repeat a text", "Repeats a text.")
    assert app.dispatch("/help").result.data["commands"][-1]["summary"] == "Repeat a text"
    assert "skills.echo.plugin" not in sys.modules
    assert app.dispatch("echo this").result.text == "this"
    assert app.dispatch("/echo that").result.text == "that"


def test_changed_plugin_is_indexed_again(start, shipped):
    start()
    (shipped / "echo" / "plugin.py").write_text(PLUGIN.format(summary="Say it again"))
    assert start().catalogue.skills["echo"].summary == "Say it again"


@pytest.mark.parametrize("damage", ["{", "[]", '{"key": 1}'])
def test_damaged_index_is_replaced(start, tmp_path, damage):
    start()
    [index] = tmp_path.rglob("plugins.json")
    before = index.read_text()
    index.write_text(damage)
    assert start().catalogue.skills["echo"].summary == "Repeat a text"
    assert index.read_text() == before


def test_unwritable_cache_is_ignored(start, tmp_path):
    shutil.rmtree(fake_settings(tmp_path).cache_dir, ignore_errors=True)
    fake_settings(tmp_path).cache_dir.write_text("a file where the folder should be")
    assert start().dispatch("/echo x").result.text == "x"


def test_shipped_skills_pass_all_checks(tmp_path):
    for found in fake_app(tmp_path).catalogue.skills.values():
        check_skill(found.skill)
