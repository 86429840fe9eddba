"""Earlier training in a run folder: continue it, move it aside, or refuse to start.

Nothing that was trained is overwritten or deleted: it is continued (--resume) or moved aside
(--force), or the new training is refused.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from harness.errors import OutputError, UsageError
from skills.finetune.run.run_dir import RunDir
from skills.finetune.run.stage import StageContext
from skills.finetune.training import checkpoints, curve, metrics
from skills.finetune.training.train import RUN

ASIDE = "earlier"


def resumes(context: StageContext) -> bool:
    """Return True if the options ask to continue the earlier training."""
    options = context.call.options
    return bool(getattr(options, "resume", False) or getattr(options, "checkpoint", None))


def check(context: StageContext) -> None:
    """Refuse, before anything is done, what the training stage would refuse.

    Raises:
        UsageError: an unfinished training would be overwritten.
        InputError: the named checkpoint is missing, damaged or of another run.
    """
    if (named := getattr(context.call.options, "checkpoint", None)) is not None:
        checkpoints.load(named, context.run_dir.folder)
    if context.run_dir.entry("train") is None and not context.call.force:
        _refuse(context)


def make_room(context: StageContext, *, done: bool) -> None:
    """Make room for the training that is about to start.

    Args:
        done: True if it was done before with these inputs, and nothing is started.

    Raises:
        UsageError: there is an earlier training, and neither --resume nor --force is given.
        OutputError: it cannot be moved.
    """
    if done or resumes(context) or not (trained := _trained(context.run_dir)):
        return
    if not context.call.force:
        _refuse(context)
    aside = _move_aside(context.run_dir)
    found = trained[0] if len(trained) == 1 else f"{trained[0]} to {trained[-1]}"
    context.call.screen.notice(
        f"train: starting again. The earlier training ({found}) was moved to {aside}; delete it if "
        "you do not need it. Its GGUF files are overwritten when the new training is exported"
    )


def _refuse(context: StageContext) -> None:
    """Refuse to train over an earlier training, unless the options ask to continue it.

    Raises:
        UsageError: naming its newest checkpoint, and why it cannot be used as it is.
    """
    trained = _trained(context.run_dir)
    if not trained or resumes(context):
        return
    newest, folder = trained[-1], context.run_dir.folder
    if context.run_dir.entry("train") is None:
        what = f"there is an unfinished training here ({newest})"
    else:
        what = f"there is a training with other rows or settings here ({newest})"
    raise UsageError(
        what,
        where=str(folder),
        hint="--resume continues it; --force starts again and moves it to "
        f"{folder.name}/{_free(folder).name}; --out names another folder for a new one.",
    )


def _trained(run_dir: RunDir) -> list[str]:
    """Return the names of the checkpoints, the newest last; without any, that of the adapter."""
    steps = [f"checkpoint-{step}" for step in checkpoints.steps(run_dir.folder)]
    return steps or ([run_dir.adapter.name] if run_dir.adapter.exists() else [])


def _move_aside(run_dir: RunDir) -> Path:
    """Move all files of a training into a new folder within the run's.

    Raises:
        OutputError: the folder cannot be created, or a file cannot be moved.
    """
    folder = run_dir.folder
    target = _free(folder)
    files = [folder / name for name in (metrics.NAME, curve.NAME, RUN)]
    found = [folder / f"checkpoint-{step}" for step in checkpoints.steps(folder)]
    found += [path for path in (run_dir.adapter, *files) if path.exists()]
    try:
        target.mkdir()
        for path in found:
            path.rename(target / path.name)
    except OSError as exc:
        raise OutputError(
            f"the earlier training cannot be moved: {exc.strerror or exc}", where=str(target)
        ) from exc
    run_dir.forget("train")
    return target


def _free(folder: Path) -> Path:
    """Return the first of earlier-1, earlier-2, ... that does not exist."""
    paths = (folder / f"{ASIDE}-{number}" for number in count(1))
    return next(path for path in paths if not path.exists())
