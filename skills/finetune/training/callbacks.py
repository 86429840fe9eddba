"""Callbacks of the trainer: log, evaluate, save, show progress and stop between steps.

The trainer of transformers calls the `on_...` methods and then reads the flags of `control`.

metrics.jsonl has a measurement per line. An evaluation line has step, epoch and dev_loss. A
training line has step, epoch, loss, learning_rate, grad_norm, tokens_per_second, and:

    tokens      tokens of prompts and completions since the previous training line, without padding
    seconds     seconds since the previous training line, without evaluation and saving
    peak_bytes  peak memory of the process of rank 0 so far (see the function `peak_bytes`)
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from harness.errors import SkillFailed
from harness.runs import targets
from harness.runs.progress import ProgressEstimate
from harness.support.journal_files import append_lines, complete_lines
from skills.finetune import ranks
from skills.finetune.model.base_shapes import BaseFacts
from skills.finetune.recipe import Recipe, Training
from skills.finetune.tokenization.prepared_rows import Batches
from skills.finetune.training import checkpoints


@dataclass(slots=True)
class TrainingProgress(ProgressEstimate):
    """The progress of training; a step counts as a row.

    Attributes:
        loss: the loss of the latest step.
    """

    loss: float | None = None

    def __str__(self) -> str:
        pace = ProgressEstimate.__str__(self)  # super() does not work in a dataclass with slots
        loss = "" if self.loss is None else f"loss {self.loss:.3f}"
        return ", ".join(filter(None, (loss, pace)))


@dataclass(slots=True)
class Schedule:
    """The numbers of steps of a training.

    Attributes:
        per_epoch: number of steps of one epoch.
        total: number of steps of all epochs, on which the schedule of the learning rate depends.
        last: the number of the last step: `total`, or `max_steps` if it is given and lower.
    """

    per_epoch: int
    total: int
    last: int


def schedule(rows: int, training: Training) -> Schedule:
    """Return the numbers of steps for `rows` training rows; an incomplete step counts as a step."""
    batches = math.ceil(rows / training.batch)
    per_epoch = math.ceil(batches / training.accumulation)
    total = math.ceil(training.epochs * per_epoch)
    return Schedule(per_epoch, total, min(training.max_steps or total, total))


class TrainingRun(BaseModel, frozen=True):
    """The arguments of a training, which rank 0 sends to the other ranks.

    Attributes:
        folder: the folder of the run, with the prepared rows.
        base, base_name: the folder of the base, and its name.
        guard: the initial settings of the run, which are stored in each checkpoint.
        start: the adapter to start from, which fits the base; None for a new adapter.
        checkpoint: the checkpoint to resume from, of step `start_step`; None to start at step 0.
        is_sharded: True if the base is divided among the ranks.
    """

    folder: Path
    base: Path
    base_name: str
    facts: BaseFacts
    recipe: Recipe
    guard: Mapping[str, Any]
    steps: Schedule
    start: Path | None = None
    checkpoint: Path | None = None
    start_step: int = 0
    is_sharded: bool = False

    def progress(self) -> TrainingProgress:
        """Return the progress before the training starts, with `start_step` steps done."""
        last, begin = self.steps.last, self.start_step
        return TrainingProgress(rows=last, weight=last - begin, done=begin, unit="steps")


@dataclass
class TrainingCallbacks:
    """The callbacks of one training run, and the state that they share.

    Attributes:
        stop_requested: a function that returns True if the run must end after the current step.
        update: a function that refreshes the progress display.
        saved: step of the latest checkpoint of this process; 0 before the first checkpoint.
        tokens: number of tokens of all steps that this process has finished, without padding.
        seconds: duration of these steps in seconds.
        step_tokens: number of tokens of the current step in all ranks, without padding.
    """

    run: TrainingRun
    order: Batches
    pace: TrainingProgress
    stop_requested: Callable[[], bool]
    update: Callable[[], None] = lambda: None
    saved: int = 0
    tokens: int = 0
    seconds: float = 0.0
    step_tokens: int = 0
    _step_loss: list[Any] = field(default_factory=list)
    _begun: float = 0.0
    _logged: tuple[int, float] = (0, 0.0)

    def count(self, loss: Any) -> None:
        """Record the contribution of a batch to the loss of the current step."""
        self._step_loss.append(loss.detach())

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Set the epoch of the batches, so that a resumed run continues in the same order."""
        self.order.epoch = state.global_step // self.run.steps.per_epoch

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._begun = time.monotonic()
        self._step_loss.clear()

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Record the step's loss; raise SkillFailed if the loss or a gradient is not finite."""
        import torch

        self.pace.loss = ranks.summed(float(sum(self._step_loss)))[0] / ranks.world()
        grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
        # With float16, gradients overflow occasionally, and the gradient scaler skips the step.
        sound = args.fp16 or bool(torch.isfinite(torch.stack([one.sum() for one in grads])).all())
        if not math.isfinite(self.pace.loss):
            raise self._diverged("the loss", state.global_step + 1)
        if not sound:
            raise self._diverged("a gradient", state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds += time.monotonic() - self._begun
        self.tokens += self.step_tokens
        self.pace.finish_row(str(state.global_step), 1, self.step_tokens)
        self.update()
        is_stopped = ranks.any_of(self.stop_requested())
        if state.global_step >= self.run.steps.last:
            control.should_training_stop = control.should_save = True
            control.should_evaluate = args.eval_strategy == "steps"
        elif is_stopped:
            # A due evaluation still runs, since a resumed run would skip it.
            control.should_training_stop = control.should_save = True
        if control.should_save or control.should_evaluate:
            # A checkpoint does not contain the loss since the last log line, so log it here.
            control.should_log = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        if not ranks.is_main():
            return
        logs, metrics = logs or {}, Metrics(self.run.folder / checkpoints.METRICS)
        line: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0, 4)}
        if "eval_loss" in logs:
            metrics.add(line | {"dev_loss": logs["eval_loss"]})
        elif "loss" in logs:
            tokens, seconds = self.tokens - self._logged[0], self.seconds - self._logged[1]
            self._logged = self.tokens, self.seconds
            metrics.add(
                line
                | {name: logs.get(name) for name in ("loss", "learning_rate", "grad_norm")}
                | {
                    "tokens": tokens,
                    "seconds": round(seconds, 3),
                    "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
                    "peak_bytes": peak_bytes(),
                }
            )

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, float], **_: Any
    ) -> None:
        """Request a checkpoint if the dev loss is the lowest so far, or if the run must stop.

        Raises:
            SkillFailed: the dev loss is not finite.
        """
        if not math.isfinite(loss := metrics["eval_loss"]):
            raise self._diverged("the dev loss", state.global_step)
        if state.global_step == 0:
            return  # the adapter that training starts from needs no checkpoint
        if state.best_metric is None or loss < state.best_metric:
            control.should_save = True
        if ranks.any_of(self.stop_requested()):
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        staged = Path(args.output_dir) / f"checkpoint-{step}"
        ranks.barrier()  # wait until each rank has written its random state
        if ranks.is_main():
            run, keep = self.run, self.run.recipe.training.keep
            checkpoints.seal(staged, run.folder, step, run.guard, run.base_name)
            checkpoints.rotate(run.folder, step, keep, state.best_global_step)
        self.saved = step

    def _diverged(self, name: str, step: int) -> SkillFailed:
        before = f"The last checkpoint is checkpoint-{self.saved}. " if self.saved else ""
        return SkillFailed(
            f"{name} is not finite at step {step}",
            hint=f"{before}Use a lower training.learning_rate or some training.warmup.",
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """Reads and writes the file metrics.jsonl of a run."""

    path: Path

    def read(self) -> list[dict[str, Any]]:
        """Return the measurements of all lines in order; damaged lines are left out."""
        lines = []
        for line in complete_lines(self.path):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and isinstance(found.get("step"), int):
                lines.append(found)
        return lines

    def cut(self, step: int) -> None:
        """Remove the lines of all steps after `step`, which will be trained again.

        Raises:
            OutputError: the file cannot be written.
        """
        kept = [_line(line) for line in self.read() if line["step"] <= step]
        targets.write_text(self.path, "".join(kept))

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line, and flush it to the operating system.

        Raises:
            OutputError: the line cannot be written, for example on a full disk.
        """
        with targets.reported(self.path):
            append_lines(self.path, _line(line).encode(), sync=False)


def peak_bytes() -> int:
    """Return the peak memory of this process on the training device, in bytes.

    Without a GPU, this is the peak resident set of the process, or 0 on Windows.
    """
    import sys

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
