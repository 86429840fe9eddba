"""Train in this process, or in several processes that torchrun starts.

    saved = optimize(run, run.progress(), screen, cancel)   # in this process
    saved = train_in(run, 2, screen, cancel)                # in new processes
    python -m skills.finetune.training.processes            # the code of a rank in a new process

Each rank loads the base and computes its rows of each batch. Of the ranks that `train_in` starts,
rank 0 reads the `TrainingRun` from stdin, sends it to the other ranks, and reports progress on
stdout as JSON lines. When stdin is closed, rank 0 ends the training after the current step. Each of
these ranks reports its error on stdout, and libraries print to ranks.log.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

from harness import errors
from harness.errors import HarnessError, Interrupted, OutputError, SkillFailed
from harness.runs import progress
from harness.settings import CODE_ROOT
from harness.support import ctrl_c
from harness.support.process import available_cores, with_modules
from harness.support.stop_token import StopToken
from harness.terminal import streams
from harness.terminal.console import Screen
from skills.finetune import ranks
from skills.finetune.model import lora_adapters
from skills.finetune.run_folder import RunDir
from skills.finetune.tokenization import prepared_rows
from skills.finetune.training import trainer
from skills.finetune.training.callbacks import TrainingCallbacks, TrainingProgress, TrainingRun

LOG = "ranks.log"
MODULE = "skills.finetune.training.processes"
POLL = 0.2
"""Seconds between two checks whether the training must stop."""
OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory", re.I)
"""Matches messages of torch about a lack of memory in errors other than OutOfMemoryError."""
NOT_WRITTEN = re.compile(r"PytorchStreamWriter|No space left|I/O error", re.I)
"""Matches messages of torch about a file that cannot be written."""
LOST = re.compile(r"gloo|nccl|closed by peer|connection reset|connection refused", re.I)
"""Matches messages of torch about a rank that has ended."""


def optimize(
    run: TrainingRun,
    pace: TrainingProgress,
    screen: Screen,
    cancel: StopToken,
    update: Callable[[], None] | None = None,
) -> int:
    """Train in this process, as one rank; return the last step that this call saved, or 0.

    Args:
        pace: the progress, which each step updates.
        update: called before the first step and after each step; None to show a progress bar.

    Raises:
        SkillFailed: the loss is not finite, there is not enough memory, or a rank has ended.
        OutputError: a checkpoint cannot be written.
        Interrupted: the run was stopped immediately.
    """
    from transformers import set_seed

    recipe, training = run.recipe, run.recipe.training
    prepared = prepared_rows.read_prepared(RunDir.of(run.folder, recipe).prepared)
    order = prepared_rows.Batches(prepared.lengths, training.batch, training.seed)
    watch = TrainingCallbacks(run, order, pace, cancel.is_set)
    start = None if run.start is None else lora_adapters.read_start(run.start, run.facts)
    with screen.progress("loading the base"):
        model = trainer.load_model(run.base, recipe, is_sharded=run.is_sharded)
        if start is not None:
            lora_adapters.load_into(model, start)
    made = trainer.make_trainer(model, prepared, watch)
    if ranks.world() > 1:  # each rank needs its own random numbers for dropout
        set_seed(training.seed + ranks.rank())
    shown = progress.show_progress(pace, screen, "training") if update is None else None
    with (
        translated_errors(watch),
        stopped_by_signals(screen, cancel),
        shown or nullcontext(update or watch.update) as watch.update,
    ):
        if update is not None:
            update()
        made.train(resume_from_checkpoint=run.checkpoint and str(run.checkpoint))
    return watch.saved


class RankLost(SkillFailed):
    """Another process of the training has ended before this process."""

    def __init__(self, log: str | None = None) -> None:
        super().__init__(
            "a process of the training has ended before the others",
            where=log,
            hint="It may have been killed for lack of memory. `--resume` continues from the last "
            "checkpoint, also with another number of processes.",
        )


@contextlib.contextmanager
def stopped_by_signals(screen: Screen, cancel: StopToken) -> Iterator[None]:
    """Within the block, request the end of the training on Ctrl-C or SIGTERM.

    The training ends after the current step. A second signal ends the block immediately.

    Raises:
        Interrupted: the run was stopped immediately.
    """

    def notify() -> None:
        screen.notice("stopping after this step, which is saved; Ctrl-C again stops at once")

    try:
        with cancel.on_signals(signal.SIGTERM, notify=notify, unlimited=True):
            yield
    except KeyboardInterrupt as exc:
        raise Interrupted(
            "stopped at once", hint="`--resume` continues from the last checkpoint."
        ) from exc


@contextlib.contextmanager
def translated_errors(watch: TrainingCallbacks) -> Iterator[None]:
    """Within the block, raise errors of torch as errors of the harness, and hide warnings.

    Raises:
        SkillFailed: there is not enough memory.
        OutputError: a checkpoint could not be written.
        RankLost: another process of the training has ended.
    """
    import torch

    try:
        with trainer.quiet():
            yield
    except (MemoryError, RuntimeError, OSError) as exc:
        text = str(exc)
        if isinstance(exc, (MemoryError, torch.OutOfMemoryError)) or OUT_OF_MEMORY.search(text):
            raise _too_little_memory(watch) from exc
        if isinstance(exc, OSError) or NOT_WRITTEN.search(text):
            reason = getattr(exc, "strerror", None) or text.split("\n")[0]
            raise OutputError(
                f"a checkpoint was not written: {reason}",
                where=str(watch.run.folder),
                hint="Free some space; `--resume` continues from the previous checkpoint.",
            ) from exc
        if ranks.world() > 1 and LOST.search(text):
            raise RankLost from exc
        raise


def _too_little_memory(watch: TrainingCallbacks) -> SkillFailed:
    """Return the error for a lack of memory; its hint is a change that needs less memory."""
    training, longest = watch.run.recipe.training, max(watch.order.lengths)
    batch, accumulation = training.batch, training.accumulation
    if batch > 1:
        less = next(size for size in range(batch // 2, 0, -1) if batch % size == 0)
        hint = (
            f"training.batch {less} instead of {batch}, with training.accumulation "
            f"{batch * accumulation // less} instead of {accumulation}, has as many rows per step."
        )
    elif not training.checkpointing:
        hint = "training.checkpointing recomputes activations instead of storing them."
    else:
        hint = f"Leave rows of nearly {longest} tokens out of the data set, or use a smaller base."
    return SkillFailed(
        f"there is not enough memory for a batch of {batch} rows of up to {longest} tokens",
        hint=hint,
    )


def train_in(run: TrainingRun, processes: int, screen: Screen, cancel: StopToken) -> int:
    """Train in new processes; return the last step that this call saved, or 0.

    Raises:
        HarnessError: the error of the rank that failed first; the errors are as for `optimize`.
    """
    log, saved = run.folder / LOG, 0
    failures: list[HarnessError] = []
    with stopped_by_signals(screen, cancel), _started(run, processes, log) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def pass_on() -> None:
            """Close the stdin of rank 0 when the training must stop, so that all ranks stop."""
            while process.poll() is None:
                if cancel.wait(POLL):
                    with suppress(OSError):
                        stdin.close()
                    return

        threading.Thread(target=pass_on, daemon=True).start()
        with screen.progress(f"loading the base in {processes} processes"):
            first = stdout.readline()
        pace = run.progress()
        with progress.show_progress(pace, screen, "training") as update:
            for line in chain([first], stdout):
                # torchrun may print other lines before the ranks begin
                message: dict[str, Any] = {"step": -1}
                if line.startswith("{"):
                    message = json.loads(line)
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


def _error(found: dict[str, Any], log: Path) -> HarnessError:
    """Return the error that a rank has reported."""
    if found["kind"] == RankLost.__name__:
        return RankLost(str(log))
    kind = getattr(errors, found["kind"], SkillFailed)
    error: HarnessError = kind(found["message"], where=found["where"], hint=found["hint"])
    return error


@contextlib.contextmanager
def _started(run: TrainingRun, processes: int, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start torchrun with the ranks, yield its process, and kill all ranks after the block.

    Args:
        log: the file that receives the output of libraries on stderr.
    """
    import psutil

    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", MODULE]
    environment = {
        "OMP_NUM_THREADS": str(max(1, available_cores() // processes)),
        **({} if "GOMP_SPINCOUNT" in os.environ else {"OMP_WAIT_POLICY": "PASSIVE"}),
        **with_modules(CODE_ROOT),
        "PYTHONSAFEPATH": "1",
    }
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C does not reach the ranks; closing stdin stops them
        )

    def kill() -> None:
        """Kill the process and its descendants, which may have their own sessions."""
        with suppress(psutil.Error):
            parent = psutil.Process(process.pid)
            for each in (*parent.children(recursive=True), parent):
                with suppress(psutil.Error):
                    each.kill()

    ctrl_c.kill_first.append(kill)
    try:
        with suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.write(run.model_dump_json() + "\n")
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


def main() -> int:
    """Train as one rank that torchrun started; return the exit code of the process."""
    streams.set_apart()
    out = streams.results()
    assert out is not None
    try:
        if ranks.is_main():
            _lead(out)
        else:
            follow_rank_0()
    except HarnessError as exc:
        found = {"kind": type(exc).__name__, "message": exc.message}
        _report(out, error=found | {"where": exc.where, "hint": exc.hint})
        return exc.exit_code
    return 0


def follow() -> int:
    """Train as a rank other than 0 that the user's launcher started; return the exit code."""
    try:
        follow_rank_0()
    except HarnessError as exc:
        Screen().notice(f"rank {ranks.rank()}: {exc}")
        return exc.exit_code
    return 0


def _lead(out: IO[str]) -> None:
    """Train as rank 0: read the `TrainingRun` from stdin, and report progress to `out`."""
    # Unbuffered, since a thread in a buffered read would block the exit of Python.
    stdin, cancel = os.fdopen(0, "rb", buffering=0), StopToken()
    text = stdin.readline().decode()

    def stop_at_the_end() -> None:
        stdin.read(1)
        cancel.set()

    threading.Thread(target=stop_at_the_end, daemon=True).start()
    ranks.join_ranks()
    ranks.broadcast(text)
    run = TrainingRun.model_validate_json(text)
    pace, before = run.progress(), 0

    def report() -> None:
        nonlocal before
        _report(out, step=pace.done, loss=pace.loss, tokens=pace.tokens - before)
        before = pace.tokens

    _report(out, saved=optimize(run, pace, Screen(), cancel, report))
    ranks.leave_ranks()


def _report(out: IO[str], **message: Any) -> None:
    """Write a message as a JSON line."""
    with suppress(OSError):  # if the command was killed, the closed stdin ends the training
        out.write(json.dumps(message) + "\n")
        out.flush()


def follow_rank_0() -> None:
    """Train as a rank other than 0, until rank 0 ends the training.

    Raises:
        HarnessError: as for `optimize`.
    """
    # Until the training starts, signals end this process, since there is nothing to save.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    ranks.join_ranks()
    if text := ranks.broadcast():
        run, quiet = TrainingRun.model_validate_json(text), Screen(io.StringIO(), io.StringIO())
        optimize(run, run.progress(), quiet, StopToken(), lambda: None)
    ranks.leave_ranks()


if __name__ == "__main__":
    sys.exit(main())
