"""Press Ctrl-C at random moments of nine commands, and measure the time until they end.

    python bench/interrupt.py [--delays N] [--only NAME ...] [--annotations N] [--cap S] [--seed N]

Each command runs in a separate terminal: once to its end, but for at most CAP seconds, and then N
times with Ctrl-C. The random delay before Ctrl-C is between `FIRST` and the time of the first run.
Before `FIRST`, Ctrl-C would interrupt Python before the first line of agent.py. In the command
`session`, Ctrl-C is pressed while a session starts or runs a line; then the session must show its
prompt again.

The table shows the seconds from Ctrl-C to the end (median, 95th percentile, maximum) and the number
of faults. A fault is an end after more than `LIMIT` seconds, an exit code other than 130 or the
code of the first run, a traceback, a remaining process or temporary file, a damaged database, or an
incomplete target.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import re
import secrets
import shlex
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 2.0
FIRST = 0.1
HANG = 30.0
"""Seconds after Ctrl-C until a hanging process is killed."""
MARK = "BENCH_INTERRUPT"
"""Environment variable that identifies the processes of a trial."""
PROMPT = "\x1b[?2004h"
"""Bytes that prompt_toolkit sends before it reads a line."""


@dataclass(frozen=True)
class Command:
    """A command to interrupt.

    Attributes:
        line: the argument of agent.py; "" for a session, in which `typed` is entered.
        target: the file that the command writes.
    """

    name: str
    line: str
    target: str = ""
    typed: str = ""


COMMANDS = (
    Command("help", "--help"),
    Command("annotate", "/annotate abstract.txt save to out.json", "out.json"),
    Command("table", "/annotate papers.csv save to out.jsonl", "out.jsonl"),
    Command("corpus", "/corpus stats --db {corpus}"),
    Command("curate", "/curate annotated.csv --probes 1 save to out.csv", "out.csv"),
    Command("evaluate", "/evaluate gold.csv --models nanda-annotator save to out.json", "out.json"),
    Command("finetune", "/finetune plan train.jsonl --preset smollm2-cpu"),
    Command("chat", "/chat Tell a long story about a river. --model producer"),
    Command("session", "", typed="/annotate abstract.txt"),
)


@dataclass
class Outcome:
    """The effect of one Ctrl-C.

    Attributes:
        finished: True if the command had ended before Ctrl-C.
    """

    delay: float
    seconds: float
    finished: bool
    faults: list[str] = field(default_factory=list)


class Terminal:
    """A process in a separate terminal; a thread collects the output of the terminal."""

    def __init__(self, words: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self._end, theirs = os.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            words, cwd=folder, env=environment, preexec_fn=partial(os.login_tty, theirs)
        )
        self.started = time.monotonic()
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the process has ended
            while piece := os.read(self._end, 4096):
                self.shown += piece.decode(errors="replace")
                # prompt_toolkit asks for the position of the cursor
                for _ in range(piece.count(b"\x1b[6n")):
                    os.write(self._end, b"\x1b[1;1R")

    def press(self) -> None:
        """Press Ctrl-C: the terminal sends SIGINT to its foreground processes."""
        with contextlib.suppress(OSError):
            os.write(self._end, b"\x03")

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def wait_for(self, what: str, since: int = 0, seconds: float = HANG) -> bool:
        """Return True if the process prints `what` before it ends and before the time is over.

        Args:
            since: the number of characters at the start of the output that are ignored.
        """
        until = time.monotonic() + seconds
        while what not in self.shown[since:]:
            if time.monotonic() > until or self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def end(self, seconds: float = HANG) -> int | None:
        """Wait for the process to end, and return its exit code, or None if it had to be killed."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        finally:
            self._reader.join(1.0)
            os.close(self._end)


@dataclass(frozen=True)
class Bench:
    """A runner of trials, each in a copy of the input files.

    Attributes:
        inputs: the folder that is copied for each trial.
        corpus: the database of /corpus, which the commands only read.
        cap: maximum seconds of the run without Ctrl-C.
    """

    inputs: Path
    corpus: Path
    cap: float

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield a temporary folder with a copy of the inputs."""
        with tempfile.TemporaryDirectory(prefix="interrupt-") as name:
            folder = Path(name)
            shutil.copytree(self.inputs, folder, dirs_exist_ok=True)
            (folder / "tmp").mkdir()
            yield folder

    def start(self, command: Command, folder: Path, mark: str) -> Terminal:
        words = shlex.split(command.line) if command.line.startswith("-") else [command.line]
        line = [word.format(corpus=self.corpus) for word in words if word]
        environment = {
            **os.environ,
            "HARNESS_DATA": str(folder / "data"),
            "HARNESS_CONFIG": str(folder / "config"),
            "TMPDIR": str(folder / "tmp"),
            "TERM": "xterm",
            MARK: mark,
        }
        return Terminal([sys.executable, str(ROOT / "agent.py"), *line], folder, environment)

    def own_time(self, command: Command) -> tuple[float, int | None]:
        """Run a command to its end, or for `cap` seconds; return its seconds and exit code."""
        with self.folder() as folder:
            terminal = self.start(command, folder, secrets.token_hex(8))
            if command.typed:
                terminal.wait_for(PROMPT)
                begun = len(terminal.shown)
                terminal.type(f"{command.typed}\r")
                terminal.wait_for(PROMPT, begun, self.cap)
                seconds = time.monotonic() - terminal.started
                terminal.process.kill()
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    terminal.process.wait(self.cap)
                seconds = time.monotonic() - terminal.started
                if terminal.process.poll() is None:
                    terminal.process.kill()
            code = terminal.end()
            return seconds, code

    def trial(self, command: Command, delay: float, own_code: int | None) -> Outcome:
        """Run a command, press Ctrl-C after `delay` seconds, and return the effect.

        Args:
            own_code: the exit code of the command without Ctrl-C; None if unknown.
        """
        mark = secrets.token_hex(8)
        with self.folder() as folder:
            terminal = self.start(command, folder, mark)
            if command.typed:
                outcome = _in_session(terminal, command, delay)
            else:
                outcome = _one_shot(terminal, delay, own_code)
            shown = terminal.shown
            if found := re.search("Traceback|most recent call|Fatal", shown):
                outcome.faults.append(f"traceback: {shown[found.start() :][:2000]}")
            if shown.count("Interrupted") > 1:
                outcome.faults.append(f"message printed more than once: {shown[-300:]!r}")
            if _is_start_of_python(shown):
                outcome.faults.clear()
            outcome.faults += [f"left: {what}" for what in _left(folder, mark)]
            outcome.faults += [f"damaged: {what}" for what in _damaged(folder, command)]
        if outcome.seconds > LIMIT:
            outcome.faults.append(f"{outcome.seconds:.2f} s: {shown[-200:]!r}")
        return outcome


def _is_start_of_python(shown: str) -> bool:
    """Return True if the output is a traceback of Ctrl-C before agent.py handles Ctrl-C."""
    own = (f"{ROOT / folder}{os.sep}" for folder in ("harness", "skills"))
    return "KeyboardInterrupt" in shown and not any(path in shown for path in own)


def _one_shot(terminal: Terminal, delay: float, own_code: int | None) -> Outcome:
    time.sleep(delay)
    finished = terminal.process.poll() is not None
    terminal.press()
    pressed = time.monotonic()
    code = terminal.end()
    outcome = Outcome(delay, 0.0 if finished else time.monotonic() - pressed, finished)
    # -SIGINT: Ctrl-C came while Python itself was ending; a shell reports this as 130, too.
    # 0: the command ended before Ctrl-C; `own_code` may be from a first run that was killed.
    if code not in (130, -signal.SIGINT, own_code, 0 if finished else own_code):
        outcome.faults.append("hangs" if code is None else f"exit code {code}")
    return outcome


def _in_session(terminal: Terminal, command: Command, delay: float) -> Outcome:
    """Type the line at the first prompt, press Ctrl-C after `delay`, and return the effect."""
    typed = terminal.wait_for(PROMPT, 0, delay)
    begun = len(terminal.shown)
    if typed:
        terminal.type(f"{command.typed}\r")
        time.sleep(max(0.0, delay - (time.monotonic() - terminal.started)))
    finished = PROMPT in terminal.shown[begun:]
    before = len(terminal.shown)
    terminal.press()
    pressed = time.monotonic()
    if not typed:  # Ctrl-C came during the start of the session, or just before its first prompt
        prompted = terminal.wait_for(PROMPT)
        if prompted:
            terminal.type("/exit\r")
        code = terminal.end()
        outcome = Outcome(delay, time.monotonic() - pressed, finished)
        if code not in (130, -signal.SIGINT, 0 if prompted else 130):
            outcome.faults.append(f"exit code {code} at the start")
        return outcome
    returned = finished or terminal.wait_for(PROMPT, before)
    outcome = Outcome(delay, 0.0 if finished else time.monotonic() - pressed, finished)
    time.sleep(0.2)
    terminal.type("/exit\r")
    code = terminal.end()
    if not returned:
        outcome.faults.append("no prompt")
    if code != 0:
        outcome.faults.append(f"/exit after it: {code}")
    return outcome


def _left(folder: Path, mark: str) -> list[str]:
    """Return descriptions of the processes and temporary files that a trial left behind."""
    processes: list[str] = []
    for _ in range(10):  # a killed process ends a moment later
        processes = [
            path.read_text().replace("\0", " ")
            for environ in Path("/proc").glob("[0-9]*/environ")
            if _contains(environ, mark)
            for path in [environ.with_name("cmdline")]
        ]
        if not processes:
            break
        time.sleep(0.1)
    temporary = [str(p.relative_to(folder)) for p in folder.rglob("*.tmp")]
    return [*processes, *temporary, *(f"tmp/{p.name}" for p in (folder / "tmp").iterdir())]


def _contains(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:  # the process belongs to another user, or has ended
        return False


def _damaged(folder: Path, command: Command) -> list[str]:
    """Return descriptions of the databases and targets that a trial damaged."""
    found = []
    for path in folder.rglob("*.db"):
        with contextlib.closing(sqlite3.connect(path)) as db:
            if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                found.append(path.name)
    target = folder / (command.target or "none")
    if not target.exists():
        return found
    text = target.read_text(encoding="utf-8")
    try:
        if target.suffix == ".csv":
            assert len({len(row) for row in csv.reader(text.splitlines())}) == 1
        elif target.suffix == ".jsonl":
            [json.loads(line) for line in text.splitlines()]
        else:
            json.loads(text)
    except (AssertionError, ValueError):
        found.append(target.name)
    return found


def write_inputs(folder: Path, rows: int) -> None:
    """Write the input files of all commands, derived from the first row of examples/gold.csv."""
    shipped = (ROOT / "examples" / "gold.csv").read_text(encoding="utf-8")
    example, *_ = csv.DictReader(shipped.splitlines())
    (folder / "abstract.txt").write_text(example["abstract"], encoding="utf-8")
    made = []
    for number in range(rows):
        renamed = {name: text.replace("412", str(412 + number)) for name, text in example.items()}
        words = renamed["abstract"].split()
        own = " ".join(words[number::7])  # each abstract must be different
        made.append({**renamed, "paper_id": f"p{number}", "abstract": f"{own}. {' '.join(words)}"})
    for name in ("papers.csv", "annotated.csv", "gold.csv"):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(example))
            writer.writeheader()
            writer.writerows(made)
    pair = {"prompt": f"Annotate: {example['abstract']}", "completion": example["claim"]}
    lines = [json.dumps(pair)] * 64
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(bench: Bench, command: Command, delays: int, seed: int) -> list[Outcome]:
    """Interrupt a command `delays` times, and print its row of the table."""
    own, code = bench.own_time(command)
    draw = random.Random(f"{seed} {command.name}")
    outcomes = [
        bench.trial(command, draw.uniform(FIRST, max(own, FIRST)), code) for _ in range(delays)
    ]
    seconds = sorted(one.seconds for one in outcomes if not one.finished) or [0.0]
    high = seconds[min(len(seconds) - 1, round(0.95 * len(seconds)))]
    faults = [one for one in outcomes if one.faults]
    print(
        f"{command.name:<10}{own:>8.1f}{delays:>8}{delays - len(seconds):>10}"
        f"{statistics.median(seconds):>9.2f}{high:>7.2f}{seconds[-1]:>7.2f}{len(faults):>8}",
        flush=True,
    )
    for one in faults:
        print(f"    after {one.delay:.2f} s: {'; '.join(one.faults)}", flush=True)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--delays", type=int, default=40)
    parser.add_argument("--only", nargs="+", choices=[command.name for command in COMMANDS])
    parser.add_argument(
        "--annotations", type=int, default=20_000, help="number of annotations in the corpus"
    )
    parser.add_argument("--rows", type=int, default=4, help="number of rows of each table")
    parser.add_argument("--cap", type=float, default=60.0, help="maximum delay in seconds")
    parser.add_argument("--seed", type=int, default=17)
    options = parser.parse_args()
    # A background job of a shell ignores SIGINT; the commands would inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen = [one for one in COMMANDS if not options.only or one.name in options.only]
    with tempfile.TemporaryDirectory(prefix="interrupt-inputs-") as name:
        inputs, corpus = Path(name) / "inputs", Path(name) / "corpus.db"
        inputs.mkdir()
        write_inputs(inputs, options.rows)
        if any(command.name == "corpus" for command in chosen):
            import corpus as corpus_bench  # bench/corpus.py

            corpus_bench.build(corpus, options.annotations)
        print("          own time  delays  finished   median    95%    max  faults")
        bench = Bench(inputs, corpus, options.cap)
        outcomes = [measure(bench, one, options.delays, options.seed) for one in chosen]
    return int(any(one.faults for some in outcomes for one in some))


if __name__ == "__main__":
    sys.exit(main())
