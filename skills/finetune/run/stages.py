"""The stages of a run in their order, and what makes one run: each is done once, and noted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from harness.errors import HarnessError
from harness.support.cpu import giving_way
from skills.finetune.run.run_dir import Entry
from skills.finetune.run.stage import Stage, Work

ORDER = ("prepare", "train", "merge", "gguf", "quantize", "modelfile", "ollama", "register")
"""`plan` is between the first two, and leaves nothing."""


def stage(name: str) -> Stage:
    """The stage of this name; what it needs is imported now."""
    return next(found for found in _all(name) if found.name == name)


@giving_way()  # torch is first imported in here
def perform(work: Work, chosen: Stage, *, again: bool = False) -> Entry:
    """Do a stage, unless it was done with the same inputs and its files are untouched.

    Args:
        again: do it in any case.

    Raises:
        HarnessError: it cannot be done; what other stages have left stays.
    """
    inputs = chosen.inputs(work)
    out, screen = work.out, work.call.screen
    if not again and out.is_current(chosen.name, inputs):
        screen.notice(f"{chosen.name}: unchanged")
        entry = out.entry(chosen.name)
        assert entry is not None
        return entry
    changed = out.changed(chosen.name, inputs)
    why = f" again ({', '.join(changed)} changed)" if changed else ""
    screen.notice(f"{chosen.name}: {chosen.summary}{why}")
    started = time.monotonic()
    done = chosen.perform(work)
    return out.record(chosen.name, inputs, done, time.monotonic() - started)


def is_done(work: Work, name: str) -> bool:
    """Whether a stage was done with the same inputs, and its files are untouched."""
    return work.out.is_current(name, stage(name).inputs(work))


def skip(work: Work, name: str, why: HarnessError) -> None:
    """Say that a stage is left out, and forget what it left before."""
    work.call.screen.notice(f"{name}: left out: {why.message}")
    work.out.forget(name)


def perform_all(work: Work, names: Iterable[str]) -> Iterator[tuple[str, Entry]]:
    """Do several stages in turn, and hand out each as it is done."""
    for name in names:
        yield name, perform(work, stage(name))


def _all(name: str) -> tuple[Stage, ...]:
    """The stages of the module that `name` is in."""
    if name == "prepare":
        from skills.finetune.preparation import prepare

        return (prepare.STAGE,)
    if name == "train":
        from skills.finetune.training import train

        return (train.STAGE,)
    if name in ("merge", "gguf", "quantize"):
        from skills.finetune.export import gguf, merge, quantize

        return (*merge.STAGES, *gguf.STAGES, *quantize.STAGES)
    if name in ("modelfile", "ollama"):
        from skills.finetune.deploy import modelfile_stage, ollama_create

        return (modelfile_stage.MODELFILE, ollama_create.OLLAMA)
    from skills.finetune.deploy import register

    return (register.STAGE,)
