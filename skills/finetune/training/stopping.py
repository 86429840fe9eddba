"""How a training run ends early: on request, out of memory, or with a full disk."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator

from harness.errors import Interrupted, OutputError, SkillFailed
from harness.support.stop_token import StopToken
from harness.terminal.console import Screen
from skills.finetune.run import ranks
from skills.finetune.run.recipe import Training
from skills.finetune.training.watch import TrainingCallbacks

OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory", re.I)
"""Messages of torch in a plain RuntimeError, where it does not raise OutOfMemoryError."""
NOT_WRITTEN = re.compile(r"PytorchStreamWriter|No space left|I/O error", re.I)
"""The same for a full disk."""
LOST = re.compile(r"gloo|nccl|closed by peer|connection reset|connection refused", re.I)
"""The same for a rank that has ended."""


class RankLost(SkillFailed):
    """Another process of the training has ended."""

    def __init__(self, log: str | None = None) -> None:
        super().__init__(
            "a process of the training has ended before the others",
            where=log,
            hint="It may have been killed for lack of memory. `--resume` continues from the last "
            "checkpoint, also with another number of processes.",
        )


@contextlib.contextmanager
def stopped_by_signals(screen: Screen, cancel: StopToken) -> Iterator[None]:
    """Stop on Ctrl-C and SIGTERM after the current step; on a second signal, at once.

    Raises:
        Interrupted: the run was stopped at once.
    """

    def notify() -> None:
        screen.notice("stopping after this step, which is saved; press again to stop at once")

    try:
        with cancel.on_signals(signal.SIGTERM, notify=notify, unlimited=True):
            yield
    except KeyboardInterrupt as exc:
        raise Interrupted(
            "stopped at once", hint="`--resume` continues from the last checkpoint."
        ) from exc


@contextlib.contextmanager
def translated_errors(training: Training, watch: TrainingCallbacks) -> Iterator[None]:
    """Translate errors of torch, and hide its warnings.

    Raises:
        SkillFailed: there is not enough memory.
        OutputError: a checkpoint could not be written.
        RankLost: another process of the training has ended.
    """
    import torch

    from skills.finetune.model.loading import quiet

    try:
        with quiet():
            yield
    except (MemoryError, torch.OutOfMemoryError) as exc:
        raise _too_little_memory(training, watch) from exc
    except RuntimeError as exc:
        if OUT_OF_MEMORY.search(str(exc)):
            raise _too_little_memory(training, watch) from exc
        if NOT_WRITTEN.search(str(exc)):
            raise _not_written(str(exc).splitlines()[0], watch) from exc
        if ranks.world() > 1 and LOST.search(str(exc)):
            raise RankLost from exc
        raise
    except OSError as exc:
        raise _not_written(exc.strerror or str(exc), watch) from exc


def _not_written(reason: str, watch: TrainingCallbacks) -> OutputError:
    return OutputError(
        f"a checkpoint was not written: {reason}",
        where=str(watch.folder),
        hint="Free some space; `--resume` continues from the checkpoint before.",
    )


def _too_little_memory(training: Training, watch: TrainingCallbacks) -> SkillFailed:
    longest = max(watch.order.lengths)
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
