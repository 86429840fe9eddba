"""The text of a plan."""

from __future__ import annotations

from harness.terminal.rendering import table
from skills.finetune.model.resources import Item, total
from skills.finetune.plan import Plan
from skills.finetune.run_folder import in_words
from skills.nanda.text import counted
from skills.reporting.outputs import MORE

LARGE = 1_000_000_000
"""Parameters from which a base is too large to train on a CPU in a usable time."""
DIVIDED = "; FSDP divides base, adapter and optimizer among them"
IN_LOSS, NOT_IN_LOSS = "+ ", "  "
"""Prefixes of the lines of the sample row."""
AS_GIVEN = (
    ", as in the data set: the base's chat template is not available, nor the end token, which the "
    "loss includes"
)


def plan_text(plan: Plan, *, details: bool = True) -> str:
    """Return whether the run can start, what it is, and the notes.

    Args:
        details: with memory and disk item by item, and one row with its mask.
    """
    notes = "\n".join(f"note: {note}" for note in plan.notes)
    parts = [_verdict(plan), _run(plan), notes]
    parts += [_memory(plan), _disk(plan), _sample(plan)] if details else [MORE]
    return "\n\n".join(part for part in parts if part)


def _verdict(plan: Plan) -> str:
    """Return why the run cannot start and what would help, or what it needs."""
    lines = [f"cannot start: {error}" for error in plan.refusals]
    if not lines:
        need, free = in_words(total(plan.memory)), in_words(plan.free)
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
    """Return whether the run fits; on a CPU, where memory alone decides little, with its time."""
    if plan.machine.gpu is not None:
        return "fits"
    cores, seconds = counted(plan.machine.cores, "core"), plan.measured.seconds
    time = "time not measured" if seconds is None else f"about {duration(seconds)}"
    return f"fits in memory, but on the CPU ({cores}; {time})"


def duration(seconds: float) -> str:
    """Return seconds in words: "40 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


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
    processes = plan.machine.processes
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
        "time": _time(plan),
    }
    if processes == 1:
        del lines["processes"]
    return "\n".join(f"{name:<12} {words}" for name, words in lines.items())


def _time(plan: Plan) -> str:
    found = plan.measured
    if found.seconds is None:
        return "not measured: there is no earlier run of this recipe here"
    return (
        f"about {duration(found.seconds)}, at {found.tokens_per_second:,.0f} tokens a second "
        "as in the earlier run here"
    )


def _memory(plan: Plan) -> str:
    method = "QLoRA" if plan.recipe.quantization.kind == "nf4" else "LoRA"
    this = {item.name: item for item in plan.memory}
    other = {item.name: item for item in plan.full}
    names = sorted(dict.fromkeys((*this, *other)), key=lambda name: not name.startswith("base"))
    rows: list[tuple[str, ...]] = [
        (name, _size(this.get(name)), _size(other.get(name)), _formula(name, this, other))
        for name in names
    ]
    each = " for each process" if plan.machine.processes > 1 else ""
    rows.append(("all", in_words(total(plan.memory)), in_words(total(plan.full)), ""))
    gpu, logits, peak = plan.machine.gpu, plan.all_logits, plan.measured.peak
    gpus = ", ".join(gpu.name for gpu in plan.machine.gpus)
    device = f"GPU {gpus}" if gpu else f"no GPU, {plan.machine.cores} cores"
    measured = "not measured" if peak is None else f"{in_words(peak)}, in the earlier run here"
    lines = [
        table((f"memory{each}", method, "full tuning", "formula"), rows),
        "",
        f"weights, adapter, gradients and optimizer: {in_words(plan.held)}; "
        f"the weights alone in 16 bit: {in_words(plan.weights_16bit)}",
        "logits, if computed for prompts and padding as well: "
        f"{in_words(logits.bytes)} ({logits.formula})",
        f"this machine: {device}, memory free{each}: {in_words(plan.free)}",
        f"measured peak: {measured}",
    ]
    return "\n".join(lines)


def _disk(plan: Plan) -> str:
    rows = [
        (
            artifact.name,
            in_words(artifact.bytes),
            in_words(artifact.present) if artifact.present else "",
            artifact.formula,
        )
        for artifact in plan.artifacts
    ]
    lines = [table(("disk", "size", "present", "formula"), rows), ""]
    for store in plan.stores:
        lines.append(
            f"to write in {store.disk.path}: {in_words(store.missing)}, "
            f"free: {in_words(store.disk.free)}"
        )
    return "\n".join(lines)


def _sample(plan: Plan) -> str:
    which = "" if plan.rows.decoded else AS_GIVEN
    lines = [f'one row{which}; "{IN_LOSS.strip()}" marks the part in the loss']
    for text, in_loss in plan.rows.sample:  # a piece may begin within a line
        mark = IN_LOSS if in_loss else NOT_IN_LOSS
        lines += [f"{mark}{line}".rstrip() for line in text.splitlines()]
    return "\n".join(lines)


def _size(item: Item | None) -> str:
    return "" if item is None else in_words(item.bytes)


def _formula(name: str, this: dict[str, Item], other: dict[str, Item]) -> str:
    """Return the formula, or both formulas where they differ."""
    found = [items[name].formula for items in (this, other) if name in items]
    return " | full: ".join(dict.fromkeys(found)) if name in this else found[0]
