"""Measure start-up time, relative to `python -c pass` in the same run.

    python bench/startup.py [RUNS] [--skills N]

Prints for each command the median wall and CPU time of RUNS runs (default 15), and the difference
and ratio of the wall time to `python -c pass`. With --skills, `/help exit` also runs in two
temporary projects, one without skills and one with N prompt skills. `agent.py mcp` is measured
until its first answer. The commands take turns, so that changes of the machine's speed affect all
of them. A first run of each command, which writes the byte code and the plugin index, is not
counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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
BASE = "python -c pass"
CLIENT = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}
FIRST_REQUEST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": CLIENT})
COMMANDS = {
    BASE: ["-c", "pass"],
    "agent.py --help": [str(ROOT / "agent.py"), "--help"],
    "first prompt": ["-c", PROMPT],
    "agent.py mcp": [str(ROOT / "agent.py"), "mcp"],
}
HELP = [str(ROOT / "agent.py"), "/help exit"]
SKILL = """---
name: skill-{number}
description: Writes part {number} of the release notes from a list of commits, grouped by kind and
  with links to the pull requests. Use when the user asks for a changelog, for release notes, or for
  a summary of what changed between two versions of the repository.
license: MIT
allowed-tools: Read, Grep, Bash(git log:*)
argument-hint: "[version]"
metadata:
  author: somebody
  version: "1.{number}"
---

"""


def make_skills(project: Path, number: int) -> None:
    """Create `number` prompt skills of 4 KB in the folder of a project."""
    for one in range(number):
        folder = project / ".agents" / "skills" / f"skill-{one}"
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_text(SKILL.format(number=one) + "Group the commits.\n" * 200)


def measured(command: list[str], folder: Path, env: dict[str, str]) -> tuple[float, float]:
    """Run a command and return its wall and CPU seconds."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(
        command,
        input=FIRST_REQUEST,
        cwd=folder,
        env=env,
        capture_output=True,
        check=True,
        text=True,
    )
    wall, after = time.perf_counter() - started, os.times()
    spent = after.children_user + after.children_system
    return wall, spent - before.children_user - before.children_system


def main() -> None:
    """Run the commands and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "runs", nargs="?", type=int, default=15, help="number of runs of each command"
    )
    parser.add_argument(
        "--skills", type=int, default=0, help="also run `/help exit` with this number of skills"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = {title: (words, ROOT) for title, words in COMMANDS.items()}
        for number in [0, given.skills] if given.skills else []:
            project = folder / f"project-{number}"
            project.mkdir()
            make_skills(project, number)
            commands[f"/help exit, {number} skills"] = (HELP, project)
        places = {f"HARNESS_{name}": str(folder / name) for name in ("CACHE", "DATA", "CONFIG")}
        home = {"HOME": str(folder), "PYTHONPYCACHEPREFIX": str(folder / "pyc")}
        env = {**os.environ, **places, **home}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[tuple[float, float]]] = {title: [] for title in commands}
        for _ in range(given.runs + 1):
            for title, (words, where) in commands.items():
                times[title].append(measured([sys.executable, *words], where, env))
    print(
        f"{'command':<24}{'median':>10}{'over it':>10}{'ratio':>8}{'CPU':>10}   ({given.runs} runs)"
    )
    base = statistics.median(wall for wall, _ in times[BASE][1:])
    for title, taken in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*taken[1:], strict=True))
        over = f"{(wall - base) * 1e3:.0f} ms"
        print(f"{title:<24}{wall * 1e3:>7.0f} ms{over:>10}{wall / base:>8.1f}{cpu:>8.2f} s")


if __name__ == "__main__":
    main()
