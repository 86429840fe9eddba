"""How long the first moments take, against `python -c pass`, all in one run.

    python bench/startup.py [RUNS]

Prints, per command, the median wall time over RUNS runs (default 15), taken in turn so that a
machine whose speed drifts slows all of them alike, what it takes over `python -c pass`, and the
ratio to it.
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
from harness import repl, settings
from harness.cli.app import App
from harness.runs.runner import Frontend
app = App(settings.from_environment(), Frontend("repl"))
with create_pipe_input() as keys:
    keys.send_text("\\x04")
    repl.Repl(app, keys, DummyOutput()).run()
"""
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "agent.py --help": ["agent.py", "--help"],
    "first prompt": ["-c", PROMPT],
}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        places = {f"HARNESS_{name}": f"{folder}/{name}" for name in ("CACHE", "DATA", "CONFIG")}
        for _ in range(runs + 1):
            for name, words in COMMANDS.items():
                started = time.perf_counter()
                subprocess.run(
                    [sys.executable, *words],
                    cwd=ROOT,
                    env={**os.environ, **places},
                    capture_output=True,
                    check=True,
                )
                times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}  # 1st: warm-up
    base = medians["python -c pass"]
    print(f"{'command':<18}{'median':>10}{'over it':>10}{'ratio':>8}   ({runs} runs)")
    for name, median in medians.items():
        over = median - base
        print(f"{name:<18}{median * 1000:>7.0f} ms{over * 1000:>7.0f} ms{median / base:>8.1f}")


if __name__ == "__main__":
    main()
