"""A recipe adapted to this machine, by settings that change time and memory, not the result."""

from __future__ import annotations

from skills.finetune.model.facts import BaseFacts
from skills.finetune.model.memory import Batch, Place, total, training_memory
from skills.finetune.run.hardware import Machine, in_words
from skills.finetune.run.recipe import Recipe, overridden


def place_of(machine: Machine) -> Place:
    """Return the device that trains."""
    return "gpu" if machine.gpu else "cpu"


def adapted(
    recipe: Recipe, facts: BaseFacts, batch: Batch, machine: Machine
) -> tuple[Recipe, tuple[str, ...]]:
    """Return the recipe as a machine trains it, and what was changed, one clause each.

    Args:
        batch: the largest one.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    recipe, compute = with_fast_compute(recipe, machine)
    recipe, checkpointing = _with_checkpointing(recipe, facts, batch, machine)
    return recipe, tuple(filter(None, (compute, checkpointing)))


def with_fast_compute(recipe: Recipe, machine: Machine) -> tuple[Recipe, str]:
    """Return the recipe with a compute type that is fast on a machine, and why, or ""."""
    wanted = recipe.quantization.compute
    if wanted in machine.fast:
        return recipe, ""
    other = next(kind for kind in ("float16", "float32") if kind in machine.fast)
    device = "GPU" if machine.gpu else "CPU"
    why = f"this {device} does not support {wanted} efficiently: computing in {other}"
    return overridden(recipe, {"quantization.compute": other}), why


def _with_checkpointing(
    recipe: Recipe, facts: BaseFacts, batch: Batch, machine: Machine
) -> tuple[Recipe, str]:
    """Return the recipe with checkpointing if it needs too much memory without it, and why."""
    saving = overridden(recipe, {"training.checkpointing": True})
    need, less = (
        total(training_memory(facts, one, batch, place_of(machine))) for one in (recipe, saving)
    )
    if need <= machine.free or need <= less:
        return recipe, ""
    why = (
        f"checkpointing is switched on: it needs {in_words(less)} of memory instead of "
        f"{in_words(need)}, and {in_words(machine.free)} are free. Training takes longer, and its "
        "numbers are the same"
    )
    return saving, why
