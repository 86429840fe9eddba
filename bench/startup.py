"""Measure start-up time, relative to `python -c pass` in the same run.

    python bench/startup.py [RUNS]

Prints, for each command, the median wall time of RUNS runs (default 15), the difference to `python
-c pass` and the ratio to it. The commands take turns, so that a change of machine speed affects all
of them. Byte code and the plugin index are written by a first run, which does not count.
"""

from __future__ import annotations

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
from harness.cli import repl
from harness.cli.app import App
from harness.runs.frontend import Frontend
app = App(settings.from_environment(), Frontend("repl"))
with create_pipe_input() as keys:
    keys.send_text("\\x04")
    repl.Repl(app, keys, DummyOutput()).run()
"""
BASE = "python -c pass"
COMMANDS = {
    BASE: ["-c", "pass"],
    "agent.py --help": ["agent.py", "--help"],
    "first prompt": ["-c", PROMPT],
}


def main() -> None:
    """Run the commands and print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        places = {f"HARNESS_{name}": f"{folder}/{name}" for name in ("CACHE", "DATA", "CONFIG")}
        env = {**os.environ, **places, "PYTHONPYCACHEPREFIX": f"{folder}/pyc"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(runs + 1):
            for name, words in COMMANDS.items():
                started = time.perf_counter()
                command = [sys.executable, *words]
                subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True)
                times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    print(f"{'command':<18}{'median':>10}{'over it':>10}{'ratio':>8}   ({runs} runs)")
    for name, median in medians.items():
        over = median - medians[BASE]
        print(
            f"{name:<18}{median * 1e3:>7.0f} ms{over * 1e3:>7.0f} ms{median / medians[BASE]:>8.1f}"
        )


if __name__ == "__main__":
    main()
