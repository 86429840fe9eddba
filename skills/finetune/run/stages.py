"""The stages of a run in their order, and what makes one run: each is done once, and noted."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from harness.errors import HarnessError
from harness.support.cpu import giving_way
from skills.finetune.run.run_dir import Entry
from skills.finetune.run.stage import Stage, StageContext

ORDER = ("prepare", "train", "merge", "gguf", "quantize", "modelfile", "ollama", "register")
"""`plan` is between the first two, and leaves nothing."""


def stage(name: str) -> Stage:
    """The stage of this name; what it needs is imported now."""
    return next(found for found in _all(name) if found.name == name)


@giving_way()  # torch is first imported in here
def perform(context: StageContext, chosen: Stage, *, again: bool = False) -> Entry:
    """Do a stage, unless it was done with the same inputs and its files are untouched.

    Args:
        again: do it in any case.

    Raises:
        HarnessError: it cannot be done; what other stages have left stays.
    """
    inputs = chosen.inputs(context)
    run_dir, screen = context.run_dir, context.call.screen
    if not again and run_dir.is_current(chosen.name, inputs):
        screen.notice(f"{chosen.name}: unchanged")
        entry = run_dir.entry(chosen.name)
        assert entry is not None
        return entry
    changed = run_dir.changed(chosen.name, inputs)
    why = f" again ({', '.join(changed)} changed)" if changed else ""
    screen.notice(f"{chosen.name}: {chosen.summary}{why}")
    started = time.monotonic()
    done = chosen.perform(context)
    return run_dir.record(chosen.name, inputs, done, time.monotonic() - started)


def is_done(context: StageContext, name: str) -> bool:
    """Whether a stage was done with the same inputs, and its files are untouched."""
    return context.run_dir.is_current(name, stage(name).inputs(context))


def skip(context: StageContext, name: str, why: HarnessError) -> None:
    """Say that a stage is left out, and forget what it left before."""
    context.call.screen.notice(f"{name}: left out: {why.message}")
    context.run_dir.forget(name)


def perform_all(context: StageContext, names: Iterable[str]) -> Iterator[tuple[str, Entry]]:
    """Do several stages in turn, and hand out each as it is done."""
    for name in names:
        yield name, perform(context, stage(name))


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
