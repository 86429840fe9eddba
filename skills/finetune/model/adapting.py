"""A recipe adapted to this machine, by settings that change time and memory, not the result."""

from __future__ import annotations

from harness.errors import UsageError
from skills.finetune.model.facts import BaseFacts
from skills.finetune.model.memory import Batch, Place, total, training_memory
from skills.finetune.run import hardware, ranks
from skills.finetune.run.hardware import Machine, in_words
from skills.finetune.run.recipe import Recipe, overridden
from skills.finetune.run.stage import StageContext


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


def of_run(context: StageContext) -> Machine:
    """Return this machine with the processes of a run."""
    processes = ranks.on_this_machine(context.processes)
    return hardware.find(processes, is_sharded=context.is_sharded)


def check_processes(recipe: Recipe, machine: Machine) -> None:
    """Refuse processes without rows or GPU, and a base that cannot be divided among them.

    Raises:
        UsageError: as stated.
    """
    count, training = machine.processes, recipe.training
    if count > training.batch:
        accumulation = max(1, training.rows_per_step // count)
        raise UsageError(
            f"{count} processes are more than the {training.batch} rows of a batch, which they "
            "share",
            hint=f"`--batch {count} --accumulation {accumulation}` has a row for each.",
        )
    if machine.gpus and count > len(machine.gpus):
        raise UsageError(
            f"{count} processes need as many GPUs, and there are {len(machine.gpus)} to use",
            hint=f"`--processes {len(machine.gpus)}` uses each of them.",
        )
    if machine.is_sharded:
        _check_sharding(recipe, machine)


def _check_sharding(recipe: Recipe, machine: Machine) -> None:
    if not machine.gpus:
        raise UsageError(
            "--sharding fsdp divides the base among GPUs, and there are none to use",
            hint="Leave it out: on a CPU, the processes share the memory anyway.",
        )
    if machine.shards == 1:
        raise UsageError(
            "--sharding fsdp divides the base among several processes, and there is one",
            hint="`--processes N` starts one for each GPU.",
        )
    if (optimizer := recipe.training.optimizer) != "adamw_torch":
        raise UsageError(
            f"training.optimizer is {optimizer}, which cannot be used with --sharding fsdp",
            hint="--set training.optimizer=adamw_torch; its states are divided as well.",
        )


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
        total(training_memory(facts, one, batch, place_of(machine), shards=machine.shards))
        for one in (recipe, saving)
    )
    if need <= machine.free or need <= less:
        return recipe, ""
    why = (
        f"checkpointing is switched on: it needs {in_words(less)} of memory instead of "
        f"{in_words(need)}, and {in_words(machine.free)} are free. Training takes longer, and its "
        "numbers are the same"
    )
    return saving, why
