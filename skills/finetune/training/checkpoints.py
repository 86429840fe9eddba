"""Write and check checkpoints, and handle earlier trainings in the folder of a run.

The trainer writes a checkpoint into a temporary folder. `seal` adds checkpoint.json, with the
SHA-256 of each file, and then renames the folder. So each checkpoint is complete, even if the
process is killed. The digests reveal later damage.

On resume, transformers merely warns if the batch size or the intervals of logging, evaluation and
saving have changed, and does not notice changed data, a changed learning rate or a changed seed. So
`check_guard` compares the settings and digests that `guard` returns.

An earlier training is never overwritten or deleted: it is continued (--resume) or moved aside
(--force), or the new training is refused.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from harness.errors import InputError, OutputError, UsageError
from harness.runs import targets
from harness.support.bounded_files import file_sha256, read_json
from skills.finetune.recipe import Recipe
from skills.finetune.run_folder import RunDir, StageContext, package_versions

METRICS, CURVE, RUN = "metrics.jsonl", "loss.png", "run.json"
TRACKING = "tracking.json"
"""Name of the file with the state of tracking (`trackers`)."""
SEAL = "checkpoint.json"
ASIDE = "earlier"
"""Prefix of the folders that earlier trainings are moved to."""
STAGING = ".saving"
"""Name of the subfolder of a run's folder into which the trainer writes each checkpoint."""
STATE = "trainer_state.json"
ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
UNWANTED = ("README.md", "training_args.bin")
"""Files of peft and transformers that are deleted, since they are never read."""
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate")
PREPARED = ("base_digest", "tokenizer_sha256", "template_sha256", "eos_token_id", "pad_token_id")
FREE = frozenset({"max_steps", "keep", "start_from", "checkpointing"})
"""Settings that may change on resume, since they do not change the result of a step.

Instead of the name in `start_from`, the digest of the adapter is compared. The intervals of
logging, evaluation and saving may not change: transformers would continue with the old intervals.
"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A valid checkpoint.

    Attributes:
        guard: the initial settings of its run.
        best: step and dev loss of the best checkpoint so far; None without evaluation.
    """

    path: Path
    step: int
    guard: Mapping[str, Any]
    best: tuple[int, float] | None


def seal(staged: Path, folder: Path, step: int, guard: Mapping[str, Any], base: str) -> Path:
    """Write checkpoint.json into a checkpoint, rename its folder, and return the new path.

    Args:
        staged: the folder that the trainer wrote, on the same file system as `folder`.
        folder: the folder of the run.
        base: the name of the base, which replaces a local path in the config of the adapter.

    Raises:
        OutputError: a file cannot be written.
    """
    try:
        for name in UNWANTED:
            (staged / name).unlink(missing_ok=True)
        _update(staged / "adapter_config.json", {"base_model_name_or_path": base})
        _update(staged / STATE, {"best_model_checkpoint": None})
        files = {
            path.name: {"sha256": file_sha256(path), "size": path.stat().st_size}
            for path in sorted(staged.iterdir())
        }
        content = {"format": 1, "step": step, "guard": dict(guard), "files": files}
        targets.write_text(staged / SEAL, json.dumps(content, indent=2))
        target = folder / f"checkpoint-{step}"
        shutil.rmtree(target, ignore_errors=True)
        return staged.replace(target)
    except OSError as exc:
        raise OutputError(
            f"checkpoint-{step} was not written: {exc.strerror or exc}", where=str(folder)
        ) from exc


def steps(folder: Path) -> list[int]:
    """Return the steps of all checkpoints in a folder in order, including damaged checkpoints."""
    names = (path.name for path in folder.glob("checkpoint-*") if path.is_dir())
    return sorted(int(name[11:]) for name in names if re.fullmatch(r"checkpoint-\d+", name))


def newest_valid(folder: Path, notify: Callable[[str], None]) -> Path | None:
    """Return the path of the latest valid checkpoint, or None if no checkpoint is valid.

    Args:
        notify: called with a message for each damaged checkpoint that is skipped.
    """
    for step in reversed(steps(folder)):
        path = _path(folder, step)
        if (damage := damage_of(path)) is None:
            return path
        notify(f"{path.name} is skipped: {damage}")
    return None


def damage_of(path: Path) -> str | None:
    """Return a clause about the damage of a checkpoint, or None if the checkpoint is valid."""
    try:
        found = read_json(path / SEAL)
        if not {*ADAPTER, STATE} <= set(found["files"]):
            return f"its {SEAL} does not list all files"
        for name, kept in found["files"].items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != kept["size"] or file_sha256(file) != kept["sha256"]:
                return f"{name} was changed"
        if path.name != f"checkpoint-{found['step']}":
            return f"it belongs to step {found['step']}"
        dict(found["guard"])
    except FileNotFoundError:
        return f"it has no {SEAL}, so it was not completely saved"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        return f"its {SEAL} cannot be read ({exc})"
    return None


def load(path: Path, folder: Path) -> Checkpoint:
    """Check and return the checkpoint at `path`, which must belong to the run in `folder`.

    Raises:
        InputError: the checkpoint is missing, damaged, or belongs to another run.
    """
    if not path.is_dir():
        raise InputError("the checkpoint does not exist", where=str(path), hint=_valid(folder))
    if path.resolve().parent != folder.resolve():
        raise InputError(
            f"is not a checkpoint of the run in {folder}",
            where=str(path),
            hint="With `--out`, name the folder that contains the checkpoint.",
        )
    if (damage := damage_of(path)) is not None:
        raise InputError(f"is damaged: {damage}", where=str(path), hint=_valid(folder))
    found = read_json(path / SEAL)
    state = read_json(path / STATE)
    step, loss = state.get("best_global_step"), state.get("best_metric")
    best = None if not step or loss is None else (int(step), float(loss))
    return Checkpoint(path, found["step"], found["guard"], best)


def to_resume(
    folder: Path, resume: Path | bool | None, notify: Callable[[str], None]
) -> Checkpoint | None:
    """Return the checkpoint to resume from, or None to start at step 0.

    Args:
        resume: the path of a checkpoint, or True for the latest valid checkpoint; None or False to
            start at step 0.

    Raises:
        InputError: the checkpoint cannot be used, or existing checkpoints would be overwritten.
    """
    if resume is None or resume is False:
        if existing := steps(folder):
            raise InputError(
                f"there is a checkpoint-{existing[-1]} of an earlier run",
                where=str(folder),
                hint="`--resume` continues the earlier run; --force or another `--out` starts "
                "again.",
            )
        return None
    path = newest_valid(folder, notify) if resume is True else resume
    if path is None:
        notify(f"{folder} has no checkpoint to resume from: training starts at step 0")
        return None
    return load(path, folder)


def best(folder: Path, newest: int, notify: Callable[[str], None]) -> Checkpoint:
    """Return the checkpoint with the lowest dev loss, or else the checkpoint of step `newest`.

    Args:
        notify: called with a message if the best checkpoint is damaged, and `newest` is used.

    Raises:
        InputError: the checkpoint of step `newest` is damaged.
    """
    last = load(_path(folder, newest), folder)
    if last.best is None:
        return last
    path = _path(folder, last.best[0])
    if (damage := damage_of(path)) is None:
        return load(path, folder)
    notify(f"{path.name}, the best checkpoint, is damaged, so {last.path.name} is used: {damage}")
    return last


def rotate(folder: Path, newest: int, keep: int | None, best: int | None) -> None:
    """Delete checkpoints up to step `newest`, except the latest `keep` and the best checkpoint.

    Checkpoints of later steps are neither deleted nor counted: a run that was resumed from an
    earlier step has not reached them yet.

    Args:
        keep: number of latest checkpoints to keep; None to keep all checkpoints.
        best: step of the best checkpoint; None without evaluation.
    """
    if keep is None:
        return
    for step in [step for step in steps(folder) if step <= newest][:-keep]:
        if step != best:
            shutil.rmtree(_path(folder, step), ignore_errors=True)


def _path(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step}"


def _valid(folder: Path) -> str:
    """Return a hint that lists the valid checkpoints in a folder."""
    paths = [_path(folder, step) for step in steps(folder)]
    names = [path.name for path in paths if damage_of(path) is None]
    return f"Valid are {', '.join(names)}." if names else "There is no valid checkpoint."


def _update(path: Path, changes: Mapping[str, Any]) -> None:
    """Replace or add fields of the object in a JSON file."""
    content = {**read_json(path), **changes}
    targets.write_text(path, json.dumps(content, indent=2))


def guard(
    recipe: Recipe,
    prepared: Mapping[str, Any],
    digests: Mapping[str, str],
    start: str | None = None,
) -> dict[str, Any]:
    """Return all settings and digests that determine the steps of a run, by name.

    Args:
        prepared: the contents of prepared.json; only the values of the keys `PREPARED` are used.
        digests: SHA-256 of the files with training rows and dev rows.
        start: SHA-256 of the adapter that training starts from, or None.
    """
    from skills.finetune.model.resources import device_kind

    found: dict[str, Any] = {f"data.{name}": digests[name] for name in ("train.jsonl", "dev.jsonl")}
    found |= {name: prepared.get(name) for name in PREPARED}
    settings = recipe.model_dump(mode="json", include={"quantization", "adapter", "training"})
    for part, values in settings.items():
        found |= {f"{part}.{name}": value for name, value in values.items() if name not in FREE}
    found |= {"adapter.start_sha256": start, "device": device_kind()}
    versions = package_versions(*PACKAGES)
    return found | {f"version.{name}": versions.get(name) for name in PACKAGES}


def check_guard(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Check that a run is resumed with its initial settings.

    Raises:
        InputError: some settings differ; the message contains their old and new values.
    """
    changes = [
        f"{name} was {_shown(before, name)}, is {_shown(now, name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and name.rpartition(".")[2] not in FREE
    ]
    if changes:
        raise InputError(
            f"the run was started with other settings: {'; '.join(changes)}",
            where=where,
            hint="Resume with the same settings, or start again with another `--out`.",
        )


def _shown(values: Mapping[str, Any], name: str) -> str:
    """Return a setting for a message: a shortened digest, "unknown", or the value."""
    value = values.get(name)
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return "unknown" if value is None else str(value)


def resumes(context: StageContext) -> bool:
    """Return True if the options request to continue the earlier training."""
    return bool(context.call.options.resume or context.call.options.checkpoint)


def check_earlier(context: StageContext) -> None:
    """Check before the first stage that the stage `train` can start or resume a training.

    Raises:
        UsageError: an unfinished training would be overwritten.
        InputError: the named checkpoint is missing, damaged, or belongs to another run.
    """
    if context.call.options.checkpoint is not None:
        load(context.call.options.checkpoint, context.run_dir.folder)
    if context.run_dir.entry("train") is None and not context.call.force:
        _refuse(context)


def make_room(context: StageContext, *, done: bool) -> None:
    """Move an earlier training to another folder before a new training; this requires --force.

    Args:
        done: True if no new training starts because inputs and outputs are unchanged.

    Raises:
        UsageError: there is an earlier training, but neither --resume nor --force is given.
        OutputError: the earlier training cannot be moved.
    """
    if done or resumes(context) or not (trained := _trained(context.run_dir)):
        return
    if not context.call.force:
        _refuse(context)
    run_dir, folder = context.run_dir, context.run_dir.folder
    target = _free(folder)
    paths = [folder / f"checkpoint-{step}" for step in steps(folder)]
    files = (folder / name for name in (METRICS, CURVE, RUN, TRACKING))
    try:
        target.mkdir()
        for path in (*paths, *filter(Path.exists, (run_dir.adapter, *files))):
            path.rename(target / path.name)
    except OSError as exc:
        raise OutputError(
            f"the earlier training cannot be moved: {exc.strerror or exc}", where=str(target)
        ) from exc
    run_dir.forget("train")
    found = trained[0] if len(trained) == 1 else f"{trained[0]} to {trained[-1]}"
    context.call.screen.notice(
        f"train: starting again. The earlier training ({found}) was moved to {target}; delete it "
        "if you do not need it. Its GGUF files are overwritten when the new training is exported"
    )


def _refuse(context: StageContext) -> None:
    """Raise UsageError if there is an earlier training that the options do not continue."""
    trained = _trained(context.run_dir)
    if not trained or resumes(context):
        return
    newest, folder = trained[-1], context.run_dir.folder
    if context.run_dir.entry("train") is None:
        reason = f"there is an unfinished training here ({newest})"
    else:
        reason = f"there is a training with other rows or settings here ({newest})"
    raise UsageError(
        reason,
        where=str(folder),
        hint="--resume continues the training; --force starts again and moves it to "
        f"{folder.name}/{_free(folder).name}. --out names another folder for a new training.",
    )


def _trained(run_dir: RunDir) -> list[str]:
    """Return the names of all checkpoints in order.

    Without checkpoints, the result is the name of the adapter folder if it exists, or else [].
    """
    found = [f"checkpoint-{step}" for step in steps(run_dir.folder)]
    return found or ([run_dir.adapter.name] if run_dir.adapter.exists() else [])


def _free(folder: Path) -> Path:
    """Return the first path of earlier-1, earlier-2, ... in `folder` that does not exist."""
    paths = (folder / f"{ASIDE}-{number}" for number in count(1))
    return next(path for path in paths if not path.exists())
