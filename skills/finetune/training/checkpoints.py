"""Checkpoints: each is whole, or is seen not to be.

A checkpoint is written under another name, then checkpoint.json with the sha256 of each of its
files, and then it gets its name. A process that is killed leaves the ones before it, and one that
was damaged later is found by its digests.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.errors import InputError, OutputError
from harness.runs import targets
from skills.finetune.run.run_dir import partial

SEAL = "checkpoint.json"
STAGING = ".saving"
"""Where the trainer writes, within the folder of the run."""
STATE = "trainer_state.json"
ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
UNWANTED = ("README.md", "training_args.bin")
"""What peft and transformers leave besides: neither is read again."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is whole.

    Attributes:
        guard: what its run was begun with.
        best: the step with the smallest dev loss until then, and that loss; None if none was
            measured.
    """

    path: Path
    step: int
    guard: Mapping[str, Any]
    best: tuple[int, float] | None


def seal(staged: Path, folder: Path, step: int, guard: Mapping[str, Any], base: str) -> Path:
    """Finish a checkpoint and give it its name.

    Args:
        staged: where the trainer has written it, on the same disk.
        folder: of the run.
        base: the name of the base, for the adapter's config; a path on this machine stands there.

    Raises:
        OutputError: the disk is full, or the like.
    """
    try:
        for name in UNWANTED:
            (staged / name).unlink(missing_ok=True)
        _rewrite(staged / "adapter_config.json", {"base_model_name_or_path": base})
        _rewrite(staged / STATE, {"best_model_checkpoint": None})
        files = {
            path.name: {"sha256": targets.digest(path), "size": path.stat().st_size}
            for path in sorted(staged.iterdir())
        }
        content = {"format": 1, "step": step, "guard": dict(guard), "files": files}
        _write(staged / SEAL, content)
        target = folder / f"checkpoint-{step}"
        shutil.rmtree(target, ignore_errors=True)
        return staged.replace(target)
    except OSError as exc:
        raise OutputError(
            f"checkpoint-{step} was not written: {exc.strerror or exc}", where=str(folder)
        ) from exc


def steps(folder: Path) -> list[int]:
    """The steps that there are checkpoints of, whole or not, the first one first."""
    return sorted(step for step, _ in _numbered(folder))


def newest_good(folder: Path, notify: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that is whole.

    Args:
        notify: told of each newer one that is not.
    """
    for _, path in sorted(_numbered(folder), reverse=True):
        if (damage := damage_of(path)) is None:
            return path
        notify(f"{path.name} is passed over: {damage}")
    return None


def damage_of(path: Path) -> str | None:
    """What is wrong with a checkpoint, as a clause; None if it is whole."""
    try:
        found = json.loads((path / SEAL).read_text(encoding="utf-8"))
        if not {*ADAPTER, STATE} <= set(found["files"]):
            return f"its {SEAL} does not name all of its files"
        for name, kept in found["files"].items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != kept["size"] or targets.digest(file) != kept["sha256"]:
                return f"{name} is not what was saved"
        if path.name != f"checkpoint-{found['step']}":
            return f"it is of step {found['step']}"
        if not isinstance(found["guard"], dict):
            return f"its {SEAL} does not say what the run was begun with"
    except FileNotFoundError:
        return f"it has no {SEAL}, so that it was not saved to its end"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        return f"its {SEAL} cannot be read ({exc})"
    return None


def opened(path: Path, folder: Path) -> Checkpoint:
    """A checkpoint of the run in `folder`.

    Raises:
        InputError: it is of another run, is damaged, or is not there.
    """
    if not path.is_dir():
        raise InputError("there is no such checkpoint", where=str(path), hint=_there(folder))
    if path.resolve().parent != folder.resolve():
        raise InputError(
            f"is no checkpoint of the run in {folder}",
            where=str(path),
            hint="`--out` names the folder that it lies in.",
        )
    if (damage := damage_of(path)) is not None:
        raise InputError(f"is damaged: {damage}", where=str(path), hint=_there(folder))
    found = json.loads((path / SEAL).read_text(encoding="utf-8"))
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    step, loss = state.get("best_global_step"), state.get("best_metric")
    best = None if not step or loss is None else (int(step), float(loss))
    return Checkpoint(path, found["step"], found["guard"], best)


def to_resume(
    folder: Path, resume: Path | bool | None, notify: Callable[[str], None]
) -> Checkpoint | None:
    """The checkpoint to go on from; None to begin at the beginning.

    Args:
        resume: a checkpoint; True for the newest one that is whole; None or False for none.

    Raises:
        InputError: the checkpoint cannot be gone on from, or the folder has some that would be
            written over.
    """
    if resume is None or resume is False:
        if there := sorted(_numbered(folder)):
            raise InputError(
                f"{there[-1][1].name} of an earlier run is there",
                where=str(folder),
                hint="`--resume` goes on from it, --force or another `--out` begins anew.",
            )
        return None
    path = newest_good(folder, notify) if resume is True else resume
    if path is None:
        notify(f"{folder} has no checkpoint to go on from, so that training begins at step 0")
        return None
    return opened(path, folder)


def best(folder: Path, newest: int, notify: Callable[[str], None]) -> Checkpoint:
    """The checkpoint to be used: that with the smallest dev loss until step `newest`, else this.

    Args:
        notify: told if it is damaged, and the newest one taken for it.

    Raises:
        InputError: `newest` is damaged.
    """
    last = opened(folder / f"checkpoint-{newest}", folder)
    if last.best is None:
        return last
    path = folder / f"checkpoint-{last.best[0]}"
    if (damage := damage_of(path)) is not None:
        notify(f"{path.name}, the best one, is passed over for {last.path.name}: {damage}")
        return last
    return opened(path, folder)


def rotate(folder: Path, newest: int, keep: int | None, best: int | None) -> None:
    """Delete all but the newest `keep` checkpoints until step `newest`; never the best one.

    Those of later steps stay and do not count: a run that was gone on with from before them, some
    of them perhaps damaged, has not come to them yet.
    """
    if keep is None:
        return
    until = sorted(found for found in _numbered(folder) if found[0] <= newest)
    for step, path in until[:-keep]:
        if step != best:
            shutil.rmtree(path, ignore_errors=True)


def keep_adapter(checkpoint: Path, target: Path) -> None:
    """Put the adapter of a checkpoint where it is used from.

    Raises:
        OutputError: the disk is full, or the like.
    """
    with partial(target) as folder:
        for name in ADAPTER:
            shutil.copyfile(checkpoint / name, folder / name)


def clean(folder: Path) -> None:
    """Remove what a killed process was writing."""
    shutil.rmtree(folder / STAGING, ignore_errors=True)


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob("checkpoint-*"):
        if path.is_dir() and (number := re.fullmatch(r"checkpoint-(\d+)", path.name)):
            yield int(number[1]), path


def _there(folder: Path) -> str:
    names = [path.name for _, path in sorted(_numbered(folder)) if damage_of(path) is None]
    return f"Whole are {', '.join(names)}." if names else "There is none that is whole."


def _rewrite(path: Path, changes: Mapping[str, Any]) -> None:
    _write(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2).encode()

    def write(file: IO[bytes]) -> None:
        file.write(text)

    targets.write(path, write)
