"""Refusals and notes of a plan: why a run cannot start, and what else to know about it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from harness.errors import HarnessError, InputError, UsageError
from skills.finetune.export.artifact_files import SPARE
from skills.finetune.model.adapting import check_processes
from skills.finetune.model.facts import PUBLISHED
from skills.finetune.model.memory import total, training_memory
from skills.finetune.planning.plan import Plan
from skills.finetune.run import ranks
from skills.finetune.run.hardware import in_words
from skills.finetune.run.recipe import Recipe, overridden
from skills.finetune.training.train import MODULES

NEAR = 0.9
"""Share of the free memory above which a note calls it tight."""
KEPT = 0.9
"""Share of the rows that a smaller max_length should keep."""


def packages(recipe: Recipe) -> tuple[str, ...]:
    """Return the modules that training with this recipe imports."""
    bits = recipe.quantization.kind == "nf4" or recipe.training.optimizer != "adamw_torch"
    return (*MODULES, "bitsandbytes") if bits else MODULES


def refusals(plan: Plan) -> Iterator[HarnessError]:
    """Yield the reasons why a run cannot start."""
    need, gpu, recipe = total(plan.memory), plan.machine.gpu, plan.recipe
    if not plan.rows.count:
        longer = f": all have more than {recipe.training.max_length:,} tokens"
        yield InputError(
            f"there is no row to train on{longer if plan.rows.too_long else ''}",
            hint="Use a smaller dev_share, a larger max_length, or more annotations.",
        )
        return
    try:
        check_processes(recipe, plan.machine)
    except UsageError as error:
        yield error
    if gpu is None and recipe.quantization.compute == "float16":
        yield InputError(
            "quantization.compute is float16, which needs a GPU, and there is none to use",
            hint="Use bfloat16 on a CPU.",
        )
    if need > plan.free:
        device = f"the GPU ({gpu.name})" if gpu else "this machine, without a GPU to use,"
        each = " for each process" if plan.machine.processes > 1 else ""
        yield InputError(
            f"training {plan.facts.name} needs {in_words(need)} of memory{each}, and {device} has "
            f"{in_words(plan.free)} free{each}",
            hint=memory_knobs(plan),
        )
    largest = max(plan.artifacts, key=lambda artifact: artifact.missing)
    for store in plan.stores:
        if store.missing * SPARE > store.disk.free:
            yield InputError(
                f"the artifacts need {in_words(store.missing)} more, and the disk has "
                f"{in_words(store.disk.free)} free",
                where=str(store.disk.path),
                hint="Name a folder on another disk with --out. The largest part is "
                f"{largest.name} with {in_words(largest.bytes)}.",
            )


def notes(plan: Plan) -> tuple[str, ...]:
    """Return what else to know about a run, one clause each."""
    recipe, rows, machine, need = plan.recipe, plan.rows, plan.machine, total(plan.memory)
    missing = [name for name in packages(recipe) if importlib.util.find_spec(name) is None]
    found = {
        "the base is not on this machine: training needs it, this plan does not": (
            plan.facts.source == PUBLISHED
        ),
        f"{rows.too_long:,} of the rows have more than {recipe.training.max_length:,} tokens; "
        "`/finetune prepare` refuses such rows and names them": rows.too_long,
        f"rows and tokens are {rows.source}; `/finetune prepare` makes them exact": rows.estimated,
        f"{rows.count} rows are less than one step of {recipe.training.rows_per_step}: "
        "a smaller batch or accumulation makes more steps of them": (
            0 < rows.count < recipe.training.rows_per_step
        ),
        f"there is no GPU to use, so training runs on the CPU{machine.gpu_unused and ': '}"
        f"{machine.gpu_unused}": machine.gpu is None,
        f"memory is tight: {in_words(need)} of {in_words(plan.free)} free": (
            NEAR * plan.free < need <= plan.free
        ),
        f"training needs packages that are not installed: {', '.join(missing)}": missing,
    }
    return tuple(note for note, applies in found.items() if applies)


def memory_knobs(plan: Plan) -> str:
    """Return a sentence naming the two settings that save most memory.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    training = plan.recipe.training
    length = max(sorted(plan.rows.lengths)[int(KEPT * (plan.rows.count - 1))], 64)
    longer = plan.rows.count - plan.rows.up_to(length).count
    smallest = plan.machine.processes
    accumulation = max(1, training.rows_per_step // smallest)
    knobs: dict[str, dict[str, Any]] = {
        "--set quantization.kind=nf4": {"quantization.kind": "nf4"},
        "--set quantization.unpacked=false": {"quantization.unpacked": False},
        f"--batch {smallest} --accumulation {accumulation}": {
            "training.batch": smallest,
            "training.accumulation": accumulation,
        },
        f"--max-length {length} without {longer:,} of {plan.rows.count:,} rows": {
            "training.max_length": length
        },
    }
    needs, shards = {}, plan.machine.shards
    for words, changes in knobs.items():
        recipe = overridden(plan.recipe, changes)
        each = ranks.rows_each(recipe.training.batch, plan.machine.processes)
        batch = plan.rows.up_to(recipe.training.max_length).largest(each)
        needs[words] = total(training_memory(plan.facts, recipe, batch, plan.place, shards=shards))
    best = sorted((need, words) for words, need in needs.items() if need < total(plan.memory))[:2]
    found = [f"{words} ({in_words(need)})" for need, words in best]
    return f"Use {' or '.join(found)}, or a smaller base." if found else "Use a smaller base."
