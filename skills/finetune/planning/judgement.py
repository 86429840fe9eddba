"""What a plan is worth: why it cannot be done, and what else should be known of it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from harness.errors import HarnessError, InputError
from skills.finetune.export.artifact_files import SPARE, in_words
from skills.finetune.model.facts import PUBLISHED
from skills.finetune.planning.knobs import memory_knob
from skills.finetune.planning.terms import total
from skills.finetune.run.recipe import Recipe
from skills.finetune.training.train import MODULES

if TYPE_CHECKING:
    from skills.finetune.planning.plan import Plan, Store

NEAR = 0.9
"""The share of what is free from which on a plan is said to be close to it."""


def packages(recipe: Recipe) -> tuple[str, ...]:
    """The modules that training by this recipe imports."""
    bits = recipe.quantization.kind == "nf4" or recipe.training.optimizer != "adamw_torch"
    return (*MODULES, "bitsandbytes") if bits else MODULES


def refusals(plan: Plan) -> tuple[HarnessError, ...]:
    """Why a run cannot be done; () if it can."""
    if not plan.rows.count:
        left = f", for all have more than {plan.recipe.training.max_length:,} tokens"
        return (
            InputError(
                f"there is no row to train on{left if plan.rows.too_long else ''}",
                hint="A smaller dev_share, a larger max_length, or more annotations give some.",
            ),
        )
    found = [_compute(plan), _memory(plan), *(_disk(plan, store) for store in plan.stores)]
    return tuple(error for error in found if error is not None)


def notes(plan: Plan) -> tuple[str, ...]:
    """What is worth knowing, a clause each."""
    recipe, rows = plan.recipe, plan.rows
    found = []
    if plan.facts.source == PUBLISHED:
        found.append("the base is not on this machine: training needs it, this plan does not")
    if rows.too_long:
        found.append(
            f"{rows.too_long:,} of the rows have more than {recipe.training.max_length:,} tokens; "
            "`/finetune prepare` refuses such rows and names them"
        )
    if rows.estimated:
        found.append(f"rows and tokens are {rows.source}; `/finetune prepare` makes them exact")
    if 0 < rows.count < recipe.training.rows_per_step:
        found.append(
            f"{rows.count} rows are less than one step of {recipe.training.rows_per_step}: "
            "a smaller batch or accumulation makes more steps of them"
        )
    found += _device_notes(plan)
    missing = [name for name in packages(recipe) if importlib.util.find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        found.append(f"{', '.join(missing)} {are} not installed, without which nothing is trained")
    return tuple(found)


def _device_notes(plan: Plan) -> list[str]:
    found = []
    machine, need = plan.machine, total(plan.memory)
    if machine.gpu_unused:
        found.append(f"there is a GPU, but {machine.gpu_unused}")
    elif machine.gpu is None:
        found.append("there is no GPU: it would be trained on the CPU")
    if plan.free is None:
        found.append("how much memory is free cannot be found out here")
    elif NEAR * plan.free < need <= plan.free:
        found.append(f"it is close: {in_words(need)} of {in_words(plan.free)} that are free")
    return found


def _compute(plan: Plan) -> InputError | None:
    if plan.place == "gpu" or plan.recipe.quantization.compute != "float16":
        return None
    return InputError(
        "quantization.compute is float16, and there is no GPU to use",
        hint="A CPU takes bfloat16.",
    )


def _memory(plan: Plan) -> InputError | None:
    need = total(plan.memory)
    if plan.free is None or need <= plan.free:
        return None
    gpu = plan.machine.gpu
    device = f"the GPU ({gpu.name})" if gpu else "this machine, which has no GPU to use,"
    return InputError(
        f"training {plan.facts.name} needs {in_words(need)} of memory, and {device} has "
        f"{in_words(plan.free)} free",
        hint=memory_knob(plan.facts, plan.recipe, plan.rows, plan.place, plan.free),
    )


def _disk(plan: Plan, store: Store) -> InputError | None:
    if store.missing * SPARE <= store.disk.free:
        return None
    largest = max(plan.artifacts, key=lambda artifact: artifact.missing)
    return InputError(
        f"the artifacts need {in_words(store.missing)} more, and the disk has "
        f"{in_words(store.disk.free)} free",
        where=str(store.disk.path),
        hint=f"Name a folder on another disk with --out; the largest part is {largest.name} with "
        f"{in_words(largest.bytes)}.",
    )
