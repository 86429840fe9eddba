"""Format the plan of a training run as text."""

from __future__ import annotations

from harness.runs.progress import duration
from harness.terminal.rendering import table
from skills.finetune.plan import Plan
from skills.finetune.run_folder import in_words
from skills.nanda.text import counted
from skills.reporting.outputs import MORE

LARGE = 1_000_000_000
"""Number of parameters from which training on a CPU takes too long."""
DIVIDED = "; FSDP divides base, adapter and optimizer among them"
IN_LOSS, NOT_IN_LOSS = "+ ", "  "
"""Prefixes of the lines of the sample row: text that the loss includes, and other text."""
AS_GIVEN = (
    ", as in the data set: the base's chat template is not available, and the end token, which the "
    "loss includes, is not shown"
)


def plan_text(plan: Plan, *, details: bool = True) -> str:
    """Return the text of a plan: the verdict, figures of the run, and notes.

    Args:
        details: include tables of memory and disk space, and a sample row with its loss mask.
    """
    notes = "\n".join(f"note: {note}" for note in plan.notes)
    parts = [_verdict(plan), _run(plan), notes]
    parts += [_memory(plan), _disk(plan), _sample(plan)] if details else [MORE]
    return "\n\n".join(part for part in parts if part)


def _verdict(plan: Plan) -> str:
    """Return the reasons why the run cannot start, or the resources that it needs."""
    lines = [f"cannot start: {error}" for error in plan.refusals]
    if not lines:
        need, free = in_words(plan.need), in_words(plan.machine.free)
        missing = in_words(sum(store.missing for store in plan.stores))
        disks = " and ".join(in_words(store.disk.free) for store in plan.stores)
        count = plan.machine.processes
        ranks, each = (f" in {count} processes", " for each") if count > 1 else ("", "")
        lines.append(
            f"{_place(plan)}: training {plan.facts.name}{ranks} needs {need} of memory{each}, and "
            f"{free} are free{each}; it writes {missing}, and the disk has {disks} free"
        )
        if plan.machine.gpu is None and plan.facts.parameters >= LARGE:
            lines.append(
                f"{plan.facts.parameters / 1e9:.1f} billion parameters are too many for a CPU: "
                "use --preset smollm2-cpu, or a machine with a GPU"
            )
    return "\n".join([*lines, *plan.adapted])


def _place(plan: Plan) -> str:
    """Return a clause which states that the run fits; on a CPU, also how long it takes."""
    if plan.machine.gpu is not None:
        return "fits"
    cores, seconds = counted(plan.machine.cores, "core"), plan.measured.seconds
    time = "time not measured" if seconds is None else f"about {duration(seconds)}"
    return f"fits in memory, but on the CPU ({cores}; {time})"


def _run(plan: Plan) -> str:
    facts, rows, steps, training = plan.facts, plan.rows, plan.steps, plan.recipe.training
    adapter, batch = plan.recipe.adapter, plan.batch
    layers = adapter.targets if adapter.targets == "all-linear" else ", ".join(adapter.targets)
    origin = f", starting from {adapter.start_from}" if adapter.start_from else ""
    limit = f"{training.epochs:g} epochs of {steps.per_epoch:,}"
    if steps.last < steps.total:
        limit = "max_steps"
    size = f"batch {training.batch} x accumulation {training.accumulation}"
    written, kept = plan.checkpoints
    at_a_time = f"; {kept:,} at a time" if kept < written else ""
    processes, measured = plan.machine.processes, plan.measured
    time = "not measured: there is no earlier run of this recipe here"
    if measured.seconds is not None:
        time = (
            f"about {duration(measured.seconds)}, at {measured.tokens_per_second:,.0f} tokens a "
            "second as in the earlier run here"
        )
    lines = {
        "base": f"{facts.name}: {facts.parameters:,} parameters (from {facts.source})",
        "adapter": f"r {adapter.r}, alpha {adapter.alpha:g} on {layers}{origin}",
        "rows": f"{rows.count:,} to train, {rows.dev:,} to measure on ({rows.source})",
        "tokens": f"{rows.tokens:,} an epoch; the longest row {batch.length:,}, "
        f"the longest completion {batch.completion:,}",
        "steps": f"{steps.last:,} of {training.rows_per_step} rows ({size}), {limit}",
        "processes": f"{processes}, each with up to {batch.rows} of the {training.batch} rows of a "
        f"batch{DIVIDED if plan.machine.is_sharded else ''}",
        "checkpoints": f"{written:,}, one every {training.save_steps:,} steps and at the end"
        f"{at_a_time}",
        "time": time,
    }
    if processes == 1:
        del lines["processes"]
    return "\n".join(f"{name:<12} {words}" for name, words in lines.items())


def _memory(plan: Plan) -> str:
    machine, peak = plan.machine, plan.measured.peak
    each = " for each process" if machine.processes > 1 else ""
    gpus = ", ".join(gpu.name for gpu in machine.gpus)
    device = f"GPU {gpus}" if gpus else f"no GPU, {machine.cores} cores"
    measured = "not measured" if peak is None else f"{in_words(peak)}, in the earlier run here"
    parts = sorted(plan.memory.items(), key=lambda part: not part[0].startswith("base"))
    rows = [(name, in_words(size)) for name, size in (*parts, ("all", plan.need))]
    return (
        f"{table((f'memory{each}', 'size'), rows)}\n\n"
        f"this machine: {device}, memory free{each}: {in_words(machine.free)}\n"
        f"measured peak: {measured}"
    )


def _disk(plan: Plan) -> str:
    rows = [
        (one.name, in_words(one.bytes), in_words(one.present) if one.present else "")
        for one in plan.artifacts
    ]
    lines = [table(("disk", "size", "present"), rows), ""]
    lines += [
        f"to write in {store.disk.path}: {in_words(store.missing)}, "
        f"free: {in_words(store.disk.free)}"
        for store in plan.stores
    ]
    return "\n".join(lines)


def _sample(plan: Plan) -> str:
    which = "" if plan.rows.decoded else AS_GIVEN
    lines = [f'one row{which}; "{IN_LOSS.strip()}" marks the part in the loss']
    for text, in_loss in plan.rows.sample:  # a piece may begin within a line
        mark = IN_LOSS if in_loss else NOT_IN_LOSS
        lines += [f"{mark}{line}".rstrip() for line in text.splitlines()]
    return "\n".join(lines)
