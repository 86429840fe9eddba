"""What is done between the steps of a training run: log, measure, save, show, and stop.

The trainer of transformers calls the methods `on_...` and looks at the flags of `control` after.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import SkillFailed
from harness.runs.progress import ProgressEstimate
from skills.finetune.preparation.batches import Batches
from skills.finetune.run.recipe import Training
from skills.finetune.training import checkpoints
from skills.finetune.training.metrics import Metrics, peak_bytes


@dataclass(slots=True)
class Steps(ProgressEstimate):
    """How far training is; a step is a row of the pace.

    Attributes:
        loss: of the newest step.
    """

    loss: float | None = None

    def __str__(self) -> str:
        # Not super(): a dataclass with slots is another class than the one that it would name.
        pace = ProgressEstimate.__str__(self)
        return (
            pace if self.loss is None else ", ".join(filter(None, (f"loss {self.loss:.3f}", pace)))
        )


@dataclass(slots=True)
class Schedule:
    """How many steps there are.

    Attributes:
        per_epoch: steps of an epoch.
        total: of all epochs; the learning rate's schedule goes by it.
        last: where training ends: `total`, or before it for `max_steps`.
    """

    per_epoch: int
    total: int
    last: int


def schedule(rows: int, training: Training) -> Schedule:
    """How many steps `rows` rows give; an epoch's last step may have fewer rows."""
    batches = math.ceil(rows / training.batch)
    per_epoch = math.ceil(batches / training.accumulation)
    total = math.ceil(training.epochs * per_epoch)
    return Schedule(per_epoch, total, min(training.max_steps or total, total))


@dataclass
class Watch:
    """One run.

    Attributes:
        folder: of the run.
        guard: what the run was begun with; it goes into each checkpoint.
        base: the name of the base.
        keep: checkpoints to keep.
        stop_requested: returns True if the run must end after this step.
        update: shows the pace anew.
    """

    folder: Path
    order: Batches
    schedule: Schedule
    metrics: Metrics
    pace: Steps
    guard: Mapping[str, Any]
    base: str
    keep: int | None
    stop_requested: Callable[[], bool]
    update: Callable[[], None] = lambda: None
    saved: int = 0
    tokens: int = 0
    seconds: float = 0.0
    _step_loss: list[Any] = field(default_factory=list)
    _step_tokens: int = 0
    _begun: float = 0.0
    _logged: tuple[int, float] = (0, 0.0)

    def count(self, loss: Any, tokens: int) -> None:
        """Note a batch: its share of the step's loss, and its tokens without padding."""
        self._step_loss.append(loss.detach())
        self._step_tokens += tokens

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The epoch follows from the step, so that a resumed run has the order it had."""
        self.order.epoch = state.global_step // self.schedule.per_epoch

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._begun = time.monotonic()
        self._step_loss.clear()
        self._step_tokens = 0

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Stop before a loss that is no number spoils the weights.

        Raises:
            SkillFailed: it is none.
        """
        import torch

        self.pace.loss = float(sum(self._step_loss))
        grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
        # Float16 is scaled so that it overflows now and then; its scaler skips such a step.
        sound = args.fp16 or bool(torch.isfinite(torch.stack([one.sum() for one in grads])).all())
        if not math.isfinite(self.pace.loss):
            raise self._diverged("the loss", state.global_step + 1)
        if not sound:
            raise self._diverged("a gradient", state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds += time.monotonic() - self._begun
        self.tokens += self._step_tokens
        self.pace.finish_row(str(state.global_step), 1, self._step_tokens)
        self.update()
        if state.global_step >= self.schedule.last:
            control.should_training_stop = control.should_save = True
            control.should_evaluate = args.eval_strategy == "steps"
        elif self.stop_requested():
            # A step that is measured is so even then: nobody would come back to it.
            control.should_training_stop = control.should_save = True
        if control.should_save or control.should_evaluate:
            # The loss since the last log is no part of a checkpoint, and would be lost with it.
            control.should_log = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        logs = logs or {}
        line: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0, 4)}
        if "eval_loss" in logs:
            self.metrics.add(line | {"dev_loss": logs["eval_loss"]})
        elif "loss" in logs:
            tokens, seconds = self.tokens - self._logged[0], self.seconds - self._logged[1]
            self._logged = self.tokens, self.seconds
            self.metrics.add(
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
        """Save what is better than all before it, so that the best can be kept.

        Raises:
            SkillFailed: the dev loss is no number.
        """
        if not math.isfinite(loss := metrics["eval_loss"]):
            raise self._diverged("the dev loss", state.global_step)
        if state.global_step == 0:
            return  # the adapter that training goes on from: there is nothing to save
        if state.best_metric is None or loss < state.best_metric:
            control.should_save = True
        if self.stop_requested():
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        staged = Path(args.output_dir) / f"checkpoint-{step}"
        checkpoints.seal(staged, self.folder, step, self.guard, self.base)
        self.saved = step
        checkpoints.rotate(self.folder, step, self.keep, state.best_global_step)

    def _diverged(self, what: str, step: int) -> SkillFailed:
        before = f"checkpoint-{self.saved} is the last before it. " if self.saved else ""
        return SkillFailed(
            f"{what} is no number any more at step {step}",
            hint=f"{before}A lower training.learning_rate or some training.warmup avoids it.",
        )
