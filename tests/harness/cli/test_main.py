"""The command as a process: streams, exit codes, and the choice of the interpreter."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from agent import NEEDED
from harness._version import __version__
from harness.settings import CODE_ROOT
from harness.testing import FAKE_REGISTRY

AGENT = CODE_ROOT / "agent.py"

PLUGIN = """
import time
from harness import Result, Skill, hookimpl
from harness.testing import FakeBackend, FakeModel

class Slow(Skill):
    name = "slow"
    summary = "takes its time"
    text = "optional"

    def run(self, call):
        print("started")
        call.screen.notice("ready")
        time.sleep(30)
        return Result("done")

class Many(Skill):
    name = "many"
    summary = "says a lot"
    text = "optional"

    def run(self, call):
        return Result("line\\n" * 1_000_000)

class Stream(Skill):
    name = "stream"
    summary = "says a lot, piece by piece"
    text = "optional"

    def run(self, call):
        for _ in range(1_000_000):
            call.screen.emit("line\\n")
        return Result("done")

class Prints(Skill):
    name = "prints"
    summary = "prints"
    text = "none"

    def run(self, call):
        print("on stdout")
        return Result("done")

class Echo(Skill):
    name = "echo"
    summary = "gives back what it got"
    def run(self, call):
        return Result(call.text)

@hookimpl
def register_skills(register):
    for skill in (Slow(), Many(), Stream(), Prints(), Echo()):
        register(skill)

@hookimpl
def register_backends(register):
    register(FakeBackend(FakeModel("an answer")))
"""


@pytest.fixture
def home(tmp_path):
    """Home folder with a fake model, so that no process loads a real one."""
    folder = tmp_path / "config" / "skills" / "fakes"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: fakes\ndescription: fakes\n---\n")
    (folder / "plugin.py").write_text(PLUGIN)
    (tmp_path / "config" / "registry.yaml").write_text(FAKE_REGISTRY)
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    places = {name: str(home / name.lower()) for name in ("CACHE", "DATA", "CONFIG")}
    return {**os.environ, **{f"HARNESS_{name}": place for name, place in places.items()}}


def agent(home, *words, stdin=None, cwd=None):
    return subprocess.run(
        [sys.executable, AGENT, *words],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        env=environment(home),
        cwd=cwd or home,
        timeout=60,
    )


def test_version_and_help(home):
    assert agent(home, "--version").stdout == f"{__version__}\n"
    shown = agent(home, "--help")
    assert shown.returncode == 0
    assert "Usage: agent.py" in shown.stdout
    assert "/annotate" in shown.stdout
    assert "--no-fallback" in shown.stdout
    assert shown.stderr == ""


def test_version_needs_no_valid_settings(home, monkeypatch):
    monkeypatch.setenv("HARNESS_PLUGIN_DEADLINE", "abc")
    assert agent(home, "--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("words", "stdin", "code", "out"),
    [
        (("/echo What's up",), None, 0, "What's up\n"),
        (("/echo", "two", "words"), None, 0, "two words\n"),
        (("hello",), None, 0, "an answer\n"),
        (("/echo -",), "piped\n", 0, "piped\n"),
        (("/echo",), "piped\n", 0, "piped\n"),
        (("--json", "/echo x"), None, 0, '{\n  "text": "x"\n}\n'),
        (("/nosuch x",), None, 2, ""),
        (("/echo",), None, 2, ""),
        (("--nosuch", "/echo x"), None, 2, ""),
        (("--registry", "nosuch.yaml", "/echo x"), None, 2, ""),
        (("--registry", "~nobody-here/r.yaml", "/echo x"), None, 2, ""),
        (("/annotate missing.txt",), None, 2, ""),
        (("/annotate x.txt save to y.docx",), None, 2, ""),
        (("/echo x save to y.md",), None, 2, ""),
        (("/logs 99",), None, 1, ""),
        (("/logs \u00b2",), None, 2, ""),
        ((f"/logs {'9' * 30}",), None, 2, ""),
        (("--json", "--version"), None, 0, f"{__version__}\n"),
        (("/models -",), "x", 2, ""),
        (("/annotate x.txt --framework ~nosuchuser/f.yaml",), None, 2, ""),
        (("",), None, 2, ""),
        (("  ",), None, 2, ""),
        (("/echo \udcff x",), None, 2, ""),
        (("--json=false", "/echo x"), None, 2, ""),
        (("/echo x save to ~nosuchuser/x.md",), None, 2, ""),
        (("/echo - --json",), "piped\n", 0, '{\n  "text": "piped\\n"\n}\n'),
        (("-p", "/echo x"), None, 0, "x\n"),
        (("-p", "hello", "--no-log"), None, 0, "an answer\n"),
        (("-p", "/echo x", "/echo y"), None, 2, ""),
        (("-p",), None, 2, ""),
        ((), "/echo one\n\n/echo two\n", 0, "one\ntwo\n"),
        ((), "/echo one\n/nosuch\n/echo two\n", 2, "one\ntwo\n"),
        ((), "/echo one\n/exit\n/echo two\n", 0, "one\n"),
    ],
)
def test_streams_and_exit_codes(home, words, stdin, code, out):
    done = agent(home, *words, stdin=stdin)
    assert (done.returncode, done.stdout) == (code, out), done.stderr
    if code:
        assert done.stderr.splitlines()[-1].startswith("Error: ")


def test_a_missing_file_is_refused_before_any_model(home):
    done = agent(home, "--json", "/annotate missing.txt")
    assert done.returncode == 2
    assert "missing.txt" in done.stderr
    log = json.loads(agent(home, "--json", "/logs").stdout)["runs"]
    assert all(run["resolved"] is None for run in log)


def test_broken_registry_names_file_and_line(home):
    (home / "config" / "registry.yaml").write_text("models:\n  a: {colour: red}\n")
    done = agent(home, "/echo x")
    assert done.returncode == 2
    assert f"{home}/config/registry.yaml:2: models.a.colour: unknown key" in done.stderr


def test_broken_registry_leaves_help_and_skills_usable(home):
    (home / "config" / "registry.yaml").write_text("models:\n  a: {colour: red}\n")
    assert [agent(home, line).returncode for line in ("/help", "/skills", "/exit")] == [0, 0, 0]
    assert agent(home, "/corpus stats").returncode == 2


def test_a_registry_at_home_is_found(home, monkeypatch):
    monkeypatch.setenv("HOME", str(home))
    (home / "own.yaml").write_text(FAKE_REGISTRY.replace("producer", "general"))
    shown = json.loads(agent(home, "--registry=~/own.yaml", "--json", "/models").stdout)
    assert "general" in [model["id"] for model in shown["models"]]


def test_no_available_model_is_an_error(home):
    (home / "config" / "registry.yaml").write_text(
        FAKE_REGISTRY.replace("backend: fake", "backend: nosuch")
    )
    done = agent(home, "hello")
    assert done.returncode == 3
    assert "there is no backend 'nosuch'" in done.stderr


def test_ctrl_c_ends_the_work_with_130(home):
    process = subprocess.Popen(
        [sys.executable, AGENT, "/slow"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home),
    )
    while process.stderr.readline() != "ready\n":
        pass
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert (out, err) == ("", "Interrupted.\n")
    assert time.monotonic() - started < 5
    [run] = json.loads(agent(home, "--json", "/logs").stdout)["runs"]
    assert run["status"] == "interrupted"


@pytest.mark.parametrize("line", ["/many", "/stream"])
def test_a_broken_pipe_ends_quietly(home, line):
    script = f"{sys.executable} {AGENT} {line} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(home),
    )
    assert done.stdout == "line\n0\n"
    assert done.stderr == ""


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_a_failed_write_to_stdout_is_an_output_error(home, where):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {AGENT} '/echo x' {where}"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home),
    )
    assert done.returncode == 4
    assert "stdout" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("where", ["2>&1 | head -0", "2>/dev/full", "2>&-"])
def test_a_closed_stderr_is_ignored(home, where):
    script = f"{sys.executable} {AGENT} '/echo -' {where}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], input="x", capture_output=True, text=True, env=environment(home)
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_a_closed_pipe_keeps_an_earlier_exit_code(home):
    script = (
        f"printf '/nosuch\\n/many\\n' | {sys.executable} {AGENT} | head -1; echo ${{PIPESTATUS[1]}}"
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment(home)
    )
    assert done.stdout == "line\n2\n"


def test_a_piped_line_that_is_not_utf8_is_skipped(home):
    done = subprocess.run(
        [sys.executable, AGENT],
        input=b"/echo one\n/echo \xff\n/echo two\n",
        capture_output=True,
        env=environment(home),
    )
    assert (done.returncode, done.stdout) == (2, b"one\ntwo\n")
    assert b"not UTF-8" in done.stderr


def test_an_unencodable_result_is_skipped(home):
    done = subprocess.run(
        [sys.executable, AGENT],
        input="/echo é\n/echo two\n".encode(),
        capture_output=True,
        env={**environment(home), "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout) == (4, b"two\n")


def test_prints_to_a_closed_stderr_are_ignored(home):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {AGENT} /prints 2>/dev/full"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(home),
    )
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_help_may_follow_other_options(home):
    assert "Usage: agent.py" in agent(home, "--json", "--help").stdout


def test_stdin_of_a_shell_loop_is_not_read(home):
    script = f'while read word; do {sys.executable} {AGENT} "/echo $word"; done'
    done = subprocess.run(
        ["bash", "-c", script],
        input="one\ntwo\nthree\n",
        capture_output=True,
        text=True,
        env=environment(home),
    )
    assert done.stdout == "one\ntwo\nthree\n"


def test_registry_and_skills_are_found_beside_the_code(home, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "skills").mkdir(parents=True)
    (elsewhere / "skills" / "__init__.py").write_text("raise RuntimeError('the wrong skills')")
    (elsewhere / "models").mkdir()
    (elsewhere / "models" / "registry.yaml").write_text("broken: [")
    done = agent(home, "/help annotate", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    module = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main.main()", "/help annotate"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**environment(home), "PYTHONPATH": str(CODE_ROOT)},
        cwd=elsewhere,
    )
    assert module.stdout == done.stdout, module.stderr


def test_needed_packages_are_dependencies():
    text = (CODE_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = tomllib.loads(text)["project"]["dependencies"]
    of_module = metadata.packages_distributions()
    found = {normalized(name) for module in NEEDED for name in of_module[module]}
    assert found <= {normalized(re.split(r"[<>=]", one)[0]) for one in wanted}


def normalized(distribution):
    return re.sub(r"[-_.]+", "-", distribution).lower()


def bare_python(folder: Path) -> Path:
    """Create an environment without packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def test_a_python_without_dependencies_uses_the_venv(home, tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "agent.py").write_text(AGENT.read_text())
    for name in ("harness", "skills", "models"):
        (checkout / name).symlink_to(CODE_ROOT / name)
    python = bare_python(tmp_path / "bare")
    words = [python, checkout / "agent.py", "/echo handed over"]
    ran = subprocess.run(words, capture_output=True, text=True, env=environment(home))
    assert ran.returncode == 2
    assert "make install" in ran.stderr
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (checkout / ".venv" / "bin" / "python").chmod(0o755)
    ran = subprocess.run(
        words, capture_output=True, text=True, env=environment(home), stdin=subprocess.DEVNULL
    )
    assert (ran.returncode, ran.stdout) == (0, "handed over\n"), ran.stderr
