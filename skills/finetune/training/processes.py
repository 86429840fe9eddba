"""Train on several processes of this machine, which torchrun starts.

    saved = train_in(run, 2, screen, cancel)                # in the process of the command
    python -m skills.finetune.training.processes            # each rank

Rank 0 reads the `TrainingRun` from stdin, stops after its step when stdin is closed, and reports
the progress on stdout, as lines of JSON. Any rank reports its error there. What libraries print is
in ranks.log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

from harness import errors
from harness.errors import HarnessError, SkillFailed
from harness.runs import progress
from harness.settings import CODE_ROOT
from harness.support import ctrl_c
from harness.support.process import available_cores
from harness.support.stop_token import StopToken
from harness.terminal import stdout_guard
from harness.terminal.console import Screen
from skills.finetune.run import ranks
from skills.finetune.training import optimize
from skills.finetune.training.optimize import TrainingRun
from skills.finetune.training.stopping import RankLost, stopped_by_signals

LOG = "ranks.log"
MODULE = "skills.finetune.training.processes"
POLL = 0.2
"""Seconds between two looks at whether the training must stop."""


def train_in(run: TrainingRun, processes: int, screen: Screen, cancel: StopToken) -> int:
    """Train in this many new processes; return the step of the last checkpoint, or 0.

    Raises:
        HarnessError: as `optimize`, of the rank that failed first.
    """
    log, saved = run.folder / LOG, 0
    failures: list[HarnessError] = []
    with stopped_by_signals(screen, cancel), _started(run, processes, log) as process:
        threading.Thread(target=_pass_on, args=(cancel, process), daemon=True).start()
        assert process.stdout is not None
        with screen.progress(f"loading the base in {processes} processes"):
            first = process.stdout.readline()
        pace = run.progress()
        with progress.show_progress(pace, screen, "training") as update:
            for message in _messages(chain([first], process.stdout)):
                if "error" in message:
                    failures.append(_error(message["error"], log))
                elif "saved" in message:
                    saved = message["saved"]
                elif message["step"] > pace.done:
                    pace.loss = message["loss"]
                    pace.finish_row(str(message["step"]), 1, message["tokens"])
                    update()
        code = process.wait()
    if failures or (code and saved < run.steps.last):
        raise next((one for one in failures if not isinstance(one, RankLost)), RankLost(str(log)))
    log.unlink(missing_ok=True)
    return saved


@contextmanager
def _started(run: TrainingRun, processes: int, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the ranks; none of them outlives the block."""
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", MODULE]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=_environment(processes),
            start_new_session=True,  # Ctrl-C is passed on through stdin
        )

    def kill() -> None:
        _kill_tree(process.pid)

    ctrl_c.kill_first.append(kill)
    try:
        with suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.write(run.as_json() + "\n")
            process.stdin.flush()
        yield process
    finally:
        kill()
        ctrl_c.kill_first.remove(kill)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()


def _environment(processes: int) -> dict[str, str]:
    """Return an environment in which the ranks share the cores, and import this package."""
    found = dict(os.environ)
    found.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // processes)))
    if "GOMP_SPINCOUNT" not in found:
        found.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    paths = [str(CODE_ROOT), *filter(None, [found.get("PYTHONPATH")])]
    return found | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def _pass_on(cancel: StopToken, process: subprocess.Popen[str]) -> None:
    """Close stdin of the ranks when the training must stop."""
    while process.poll() is None:
        if cancel.wait(POLL):
            with suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
            return


def _messages(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield what the ranks report, without what torchrun may print before they begin."""
    for line in lines:
        if line.startswith("{"):
            yield json.loads(line)


def _kill_tree(pid: int) -> None:
    """Kill a process and all that it has started, in sessions of their own."""
    import psutil

    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (*parent.children(recursive=True), parent):
            with suppress(psutil.Error):
                process.kill()


def _error(found: dict[str, Any], log: Path) -> HarnessError:
    """Return the error that a rank has reported."""
    if found["kind"] == RankLost.__name__:
        return RankLost(str(log))
    kind = getattr(errors, found["kind"], SkillFailed)
    error: HarnessError = kind(found["message"], where=found["where"], hint=found["hint"])
    return error


def main() -> int:
    """Train as one rank; return its exit code."""
    stdout_guard.set_apart()
    out = stdout_guard.results()
    assert out is not None
    try:
        if ranks.is_main():
            _lead(out)
        else:
            optimize.follow()
    except HarnessError as exc:
        found = {"kind": type(exc).__name__, "message": exc.message}
        _report(out, error=found | {"where": exc.where, "hint": exc.hint})
        return exc.exit_code
    return 0


def follow() -> int:
    """Train as a rank other than 0 that torchrun started; return the exit code."""
    try:
        optimize.follow()
    except HarnessError as exc:
        Screen().notice(f"rank {ranks.rank()}: {exc}")
        return exc.exit_code
    return 0


def _lead(out: IO[str]) -> None:
    """Train as rank 0, as stdin describes."""
    stdin, cancel = os.fdopen(0, "rb", buffering=0), StopToken()
    text = stdin.readline().decode()

    def stop_at_the_end() -> None:
        stdin.read(1)  # a thread in a buffered read would block the exit of Python
        cancel.set()

    threading.Thread(target=stop_at_the_end, daemon=True).start()
    ranks.join()
    ranks.broadcast(text)
    run = TrainingRun.from_json(text)
    pace, before = run.progress(), 0

    def report() -> None:
        nonlocal before
        _report(out, step=pace.done, loss=pace.loss, tokens=pace.tokens - before)
        before = pace.tokens

    _report(out, saved=optimize.optimize(run, pace, Screen(), cancel, report))
    ranks.leave()


def _report(out: IO[str], **message: Any) -> None:
    with suppress(OSError):  # the command was killed: stdin is closed, too
        out.write(json.dumps(message) + "\n")
        out.flush()


if __name__ == "__main__":
    sys.exit(main())
