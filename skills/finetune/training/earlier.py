"""What an earlier training has left in the folder where another one is to be begun.

Nothing that was trained is written over or deleted: it is gone on with (--resume), or moved aside
(--force), or the new training is refused.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import OutputError, UsageError
from skills.finetune.run.run_dir import RunDir
from skills.finetune.run.stage import StageContext
from skills.finetune.training import checkpoints, curve, metrics
from skills.finetune.training.train import RUN

ASIDE = "earlier"


def resumes(context: StageContext) -> bool:
    """Whether the options say to go on with what is there."""
    options = context.call.options
    return bool(getattr(options, "resume", False) or getattr(options, "checkpoint", None))


def refuse_unfinished(context: StageContext) -> None:
    """Refuse to begin where a training has not ended, before anything of it is written over.

    Raises:
        UsageError: naming its newest checkpoint.
    """
    if context.run_dir.entry("train") is None and not context.call.force:
        refuse(context)


def refuse_checkpoint(context: StageContext) -> None:
    """Refuse a checkpoint that cannot be gone on from, even where nothing is left to train.

    Raises:
        InputError: the one that is named is not there, of another run, or damaged.
    """
    if (named := getattr(context.call.options, "checkpoint", None)) is not None:
        checkpoints.opened(named, context.run_dir.folder)


def refuse(context: StageContext) -> None:
    """Refuse to train anew over what was trained, unless the options say to go on with it.

    Raises:
        UsageError: naming the newest of it, and why it cannot be used as it is.
    """
    left = _left(context.run_dir)
    if not left or resumes(context):
        return
    newest, name = left[-1], context.run_dir.folder.name
    if context.run_dir.entry("train") is None:
        what = f"there is a training here that has not ended ({newest})"
    else:
        what = f"there is a training here already, of other rows or settings ({newest})"
    raise UsageError(
        what,
        where=str(context.run_dir.folder),
        hint="--resume goes on with it; --force begins anew and moves it to "
        f"{name}/{_free(context.run_dir.folder).name}; --out names another folder for a new one.",
    )


def settle(context: StageContext, *, done: bool) -> None:
    """Make room for the training that is about to begin.

    Args:
        done: it was done already, with these inputs: there is nothing to begin.

    Raises:
        UsageError: something is there, and neither --resume nor --force is given.
        OutputError: it cannot be moved.
    """
    if done or resumes(context) or not (left := _left(context.run_dir)):
        return
    if not context.call.force:
        refuse(context)
    aside = _moved(context.run_dir)
    found = left[0] if len(left) == 1 else f"{left[0]} to {left[-1]}"
    context.call.screen.notice(
        f"train: begun anew. What was trained here before ({found}) is moved to {aside}; delete "
        "that if you do not want it. GGUF files made of it are written over when the new one is "
        "trained"
    )


def _left(run_dir: RunDir) -> list[str]:
    """What was trained: the checkpoints, the newest last; where they were deleted, the adapter."""
    steps = [f"checkpoint-{step}" for step in checkpoints.steps(run_dir.folder)]
    return steps or ([run_dir.adapter.name] if run_dir.adapter.exists() else [])


def _moved(run_dir: RunDir) -> Path:
    """Move all of a training into a folder of its own within the run's.

    Raises:
        OutputError: it cannot be made, or a file cannot be moved.
    """
    folder = run_dir.folder
    target = _free(folder)
    names = (metrics.NAME, curve.NAME, RUN)
    found = [folder / f"checkpoint-{step}" for step in checkpoints.steps(folder)]
    found += [
        path for path in (run_dir.adapter, *(folder / name for name in names)) if path.exists()
    ]
    try:
        target.mkdir()
        for path in found:
            path.rename(target / path.name)
    except OSError as exc:
        raise OutputError(
            f"an earlier training cannot be moved aside: {exc.strerror or exc}", where=str(target)
        ) from exc
    run_dir.forget("train")
    return target


def _free(folder: Path) -> Path:
    """The first of earlier-1, earlier-2, ... that is not there."""
    number = 1
    while (path := folder / f"{ASIDE}-{number}").exists():
        number += 1
    return path
