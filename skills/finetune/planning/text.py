"""A plan for people."""

from __future__ import annotations

from collections.abc import Iterator

from harness.terminal.tables import table
from skills.finetune.export.artifact_files import in_words
from skills.finetune.planning.plan import Plan
from skills.finetune.planning.terms import Item, total

IN_LOSS, NOT_IN_LOSS = "+ ", "  "
"""What stands before each line of the decoded row."""
AS_GIVEN = (
    ", as the data set has it: around it comes the base's chat template, which is not at hand, and "
    "in the loss the token that ends an answer"
)


def show(plan: Plan) -> str:
    """All of a plan: the run, memory, disk, time, one row with its mask, and what to know."""
    parts = [_run(plan), _memory(plan), _disk(plan), _sample(plan), _remarks(plan)]
    return "\n\n".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """Seconds for people: "40 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _run(plan: Plan) -> str:
    facts, rows, steps, training = plan.facts, plan.rows, plan.steps, plan.recipe.training
    adapter, batch = plan.recipe.adapter, plan.batch
    targets = adapter.targets if adapter.targets == "all-linear" else ", ".join(adapter.targets)
    origin = f", going on from {adapter.start_from}" if adapter.start_from else ""
    ended = steps.last < steps.total
    why = "max_steps" if ended else f"{training.epochs:g} epochs of {steps.per_epoch:,}"
    size = f"batch {training.batch} x accumulation {training.accumulation}"
    written, kept = plan.checkpoints
    lines = [
        ("base", f"{facts.name}: {facts.parameters:,} parameters (from {facts.source})"),
        ("adapter", f"r {adapter.r}, alpha {adapter.alpha:g} on {targets}{origin}"),
        ("rows", f"{rows.count:,} to train, {rows.dev:,} to measure on ({rows.source})"),
        (
            "tokens",
            f"{rows.tokens:,} an epoch; the longest row {batch.length:,}, "
            f"the longest completion {batch.completion:,}",
        ),
        ("steps", f"{steps.last:,} of {training.rows_per_step} rows ({size}), {why}"),
        (
            "checkpoints",
            f"{written:,}, one every {training.save_steps:,} steps and at the end"
            + (f"; {kept:,} at a time" if kept < written else ""),
        ),
        ("time", _time(plan)),
    ]
    return "\n".join(f"{name:<12} {words}" for name, words in lines)


def _time(plan: Plan) -> str:
    found = plan.measured
    if found.seconds is None or found.tokens_per_second is None:
        return "not measured: no run of this recipe was begun here"
    return (
        f"about {duration(found.seconds)}, at {found.tokens_per_second:,.0f} tokens a second "
        "as in the run that was begun here"
    )


def _memory(plan: Plan) -> str:
    mine = "QLoRA" if plan.recipe.quantization.kind == "nf4" else "LoRA"
    names = list(dict.fromkeys(item.name for item in (*plan.memory, *plan.full)))
    names.sort(key=lambda name: not name.startswith("base"))
    this = {item.name: item for item in plan.memory}
    other = {item.name: item for item in plan.full}
    rows: list[tuple[str, str, str, str]] = [
        (name, _size(this.get(name)), _size(other.get(name)), _formula(name, this, other))
        for name in names
    ]
    rows.append(("all", in_words(total(plan.memory)), in_words(total(plan.full)), ""))
    return "\n".join(
        [table(("memory", mine, "full tuning", "how it is reckoned"), rows), "", *_beside(plan)]
    )


def _beside(plan: Plan) -> Iterator[str]:
    """What the sums stand against."""
    gpu, machine = plan.machine.gpu, plan.machine
    yield (
        f"weights, adapter, gradients and optimizer: {in_words(plan.held)}; "
        f"the weights alone in 16 bit: {in_words(plan.weights_16bit)}"
    )
    yield (
        "logits, were they computed for prompts and padding as well: "
        f"{in_words(plan.all_logits.bytes)} ({plan.all_logits.formula})"
    )
    where = f"GPU {gpu.name}" if gpu else f"no GPU, {machine.cores} cores"
    free = "not known" if plan.free is None else in_words(plan.free)
    yield f"this machine: {where}, memory free: {free}"
    peak = plan.measured.peak
    measured = "not measured" if peak is None else f"{in_words(peak)}, in the run begun here"
    yield f"peak as measured: {measured}"


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
    lines = [table(("disk", "size", "there", "how it is reckoned"), rows), ""]
    for store in plan.stores:
        lines.append(
            f"to write in {store.disk.path}: {in_words(store.missing)}, "
            f"free: {in_words(store.disk.free)}"
        )
    return "\n".join(lines)


def _sample(plan: Plan) -> str:
    """The row with "+ " before what is in the loss. A piece may begin within a line."""
    sample = plan.rows.sample
    if not sample.pieces:
        return ""
    which = "" if sample.decoded else AS_GIVEN
    lines = [f'one row{which}; "{IN_LOSS.strip()}" is what the loss is taken of']
    for text, in_loss in sample.pieces:
        mark = IN_LOSS if in_loss else NOT_IN_LOSS
        lines += [f"{mark}{line}".rstrip() for line in text.splitlines()]
    return "\n".join(lines)


def _remarks(plan: Plan) -> str:
    said = [f"note: {note}" for note in plan.notes]
    return "\n".join(said + [f"cannot be done: {error}" for error in plan.refusals])


def _size(item: Item | None) -> str:
    return "" if item is None else in_words(item.bytes)


def _formula(name: str, this: dict[str, Item], other: dict[str, Item]) -> str:
    """Both where they differ."""
    found = [items[name].formula for items in (this, other) if name in items]
    return " | full: ".join(dict.fromkeys(found)) if name in this else found[0]
