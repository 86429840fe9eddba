"""What start-up imports: no engine, no training library, no client, and no shipped skill."""

import dataclasses
import io
import json
import subprocess
import sys

import pytest

from harness.cli.app import App
from harness.plugins.loader import check_skill
from harness.runs.frontend import Frontend
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import fake_app, fake_settings
from tools.count_code import loaded

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
    "acp",
    "anyio",
    "pydantic",
    "ray",
    "starlette",
    "uvicorn",
    "grpc",
    "opentelemetry",
)

MODULES, LINES = 97, 18_000
"""Maximum number of modules that a job loads, and of their lines."""
READER = """
version: 1
models:
  nanda-annotator: {tasks: [annotate], form: quotes, serve: [{backend: reader, file: nanda-reader}]}
"""
"""A registry without Ollama, which may run on this machine."""

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

    tail = "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail],
        capture_output=True,
        text=True,
        cwd=CODE_ROOT,
        check=True,
    )
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert "harness.cli.app" in modules
    assert modules.isdisjoint(HEAVY)
    assert not any(name.startswith("skills.") for name in modules)


def test_a_job_loads_what_it_needs(tmp_path, monkeypatch):
    for name in ("DATA", "CONFIG"):
        monkeypatch.setenv(f"HARNESS_{name}", str(tmp_path / name))
    registry = tmp_path / "registry.yaml"
    registry.write_text(READER)
    monkeypatch.setenv("HARNESS_REGISTRY", str(registry))
    saved = tmp_path / "saved.jsonl"
    files = loaded(f"/annotate {CODE_ROOT / 'examples' / 'papers.csv'} save to {saved}")
    assert len(saved.read_text().splitlines()) == 6
    assert len(files) <= MODULES
    assert sum(len(file.read_text().splitlines()) for file in files) <= LINES


def test_a_skill_of_the_table_is_imported_on_first_use(tmp_path):
    app = fake_app(tmp_path)
    found = app.catalogue.skills["annotate"]
    assert found.imported is None
    assert found.summary in str(app.dispatch("/help").result.data)
    assert found.imported is None
    assert app.catalogue.skills["annotate"].skill.summary == found.summary


PLUGIN = """
from harness import Result, Skill, hookimpl

class Echo(Skill):
    name = "echo"
    summary = "Repeat a text"
    triggers = ("echo (?P<text>.+)",)

    def run(self, call):
        return Result(call.text)

@hookimpl
def register_skills(register):
    register(Echo())
"""


@pytest.fixture
def app(tmp_path):
    """The application with a shipped plugin that is not in the table, and no other one."""

    def forget():
        skills = [name for name in sys.modules if name.partition(".")[0] == "skills"]
        return {name: sys.modules.pop(name) for name in skills}

    shipped = tmp_path / "shipped"
    for path, text in {
        "__init__.py": "",
        "echo/__init__.py": "",
        "echo/SKILL.md": "---\nname: echo\ndescription: Repeats a text.\n---\nUse it.\n",
        "echo/plugin.py": PLUGIN,
    }.items():
        (shipped / path).parent.mkdir(parents=True, exist_ok=True)
        (shipped / path).write_text(text)
    before = forget()
    settings = dataclasses.replace(fake_settings(tmp_path), shipped_skills=shipped)
    yield App(settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))
    forget()
    sys.modules.update(before)


def test_a_plugin_that_is_not_in_the_table_is_imported(app):
    found = app.catalogue.skills["echo"]
    assert (found.summary, found.file.description) == ("Repeat a text", "Repeats a text.")
    assert app.dispatch("echo this").result.text == "this"
    assert app.dispatch("/echo that").result.text == "that"


def test_a_start_writes_nothing_into_the_cache(app):
    assert not app.settings.cache_dir.exists()


def test_shipped_skills_pass_all_checks(tmp_path):
    for found in fake_app(tmp_path).catalogue.skills.values():
        check_skill(found.skill)
