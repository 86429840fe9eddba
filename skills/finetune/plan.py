"""Plan a run before weights are loaded: rows, steps, memory, disk space and time.

found = make_plan(context)      # found.refusals: the reasons why the run cannot start
plan_text(found)                # text; found.as_dict() for JSON
"""

from __future__ import annotations

import importlib.util
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InputError, UsageError
from harness.runs.progress import duration
from harness.support.bounded_files import read_json
from harness.terminal.rendering import table
from skills.finetune.model import lora_adapters, resources
from skills.finetune.model.base_shapes import PUBLISHED, BaseFacts, published
from skills.finetune.model.bases import describe
from skills.finetune.plan_rows import PlannedRows, planned_rows
from skills.finetune.recipe import Recipe, Training, overridden
from skills.finetune.run_folder import SPARE, StageContext, in_words
from skills.finetune.training.callbacks import Metrics, Schedule, schedule
from skills.finetune.training.checkpoints import METRICS, RUN
from skills.finetune.training.train import packages
from skills.nanda.text import counted
from skills.reporting.outputs import MORE

NEAR = 0.9
"""Share of the free memory above which a note warns that memory is tight."""
KEPT = 0.9
"""Share of the rows that fit into the smaller max_length which a plan suggests."""
RELEVANT: Any = {
    "base": True,
    "quantization": True,
    "adapter": True,
    "training": {"batch", "accumulation", "optimizer", "checkpointing", "max_length"},
}
"""The settings of a recipe that change speed or memory, for `include` of `model_dump`."""
LARGE = 1_000_000_000
"""Number of parameters from which training on a CPU takes too long."""
DIVIDED = "; FSDP divides base, adapter and optimizer among them"
IN_LOSS, NOT_IN_LOSS = "+ ", "  "
"""Prefixes of the lines of the sample row: text that the loss includes, and other text."""
AS_GIVEN = (
    ", as in the data set: the base's chat template is not available, and the end token, which the "
    "loss includes, is not shown"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements of an earlier run; None for unknown values.

    Attributes:
        tokens_per_second: median speed, for tokens of prompts and completions without padding.
        seconds: estimated duration of the planned steps, without evaluation and saving.
        peak: maximum memory in bytes.
    """

    tokens_per_second: float | None = None
    seconds: float | None = None
    peak: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run: its rows, steps and resources; sizes in bytes.

    Attributes:
        given: the original recipe; `recipe` is the recipe adapted to the machine.
        adapted: a clause about each setting that was changed for the machine.
        checkpoints: the number of checkpoints written, and the maximum that exist at the same time.
        batch: the size of the largest batch.
        memory: the peak memory of one process in bytes; the keys are the uses, such as "gradients".
        notes: warnings and hints, as clauses.
        refusals: the reasons why the run cannot start; empty if the run can start.
    """

    given: Recipe
    recipe: Recipe
    adapted: tuple[str, ...]
    facts: BaseFacts
    rows: PlannedRows
    steps: Schedule
    checkpoints: tuple[int, int]
    batch: resources.Batch
    machine: resources.Machine
    memory: dict[str, int]
    artifacts: tuple[resources.Artifact, ...]
    disks: tuple[resources.Disk, ...]
    measured: Measured
    notes: tuple[str, ...] = ()
    refusals: tuple[HarnessError, ...] = ()

    @property
    def need(self) -> int:
        """The peak memory of one process in bytes."""
        return sum(self.memory.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for JSON; sizes in bytes, times in seconds."""
        rows, measured = self.rows, self.measured
        return {
            "recipe": self.given.model_dump(mode="json"),
            "recipe_sha256": self.given.digest,
            "adapted": list(self.adapted),
            "base": {**asdict(self.facts), "at_hand": self.facts.source != PUBLISHED},
            "rows": {
                "train": rows.count,
                "dev": rows.dev,
                "too_long": rows.too_long,
                "tokens": rows.tokens,
                "longest": self.batch.length,
                "longest_completion": self.batch.completion,
                "source": rows.source,
                "estimated": rows.estimated,
                "sample": [list(piece) for piece in rows.sample],
                "sample_decoded": rows.decoded,
            },
            "steps": asdict(self.steps),
            "checkpoints": dict(zip(("written", "at_a_time"), self.checkpoints, strict=True)),
            "memory": {
                "device": self.machine.place,
                "free": self.machine.free,
                "needed": self.need,
                "parts": self.memory,
                "measured_peak": measured.peak,
            },
            "machine": asdict(self.machine),
            "disk": {
                "artifacts": {one.name: one.bytes for one in self.artifacts},
                "stores": [
                    {"path": str(one.path), "free": one.free, "missing": one.missing}
                    for one in self.disks
                ],
            },
            "time": {
                "seconds": measured.seconds,
                "tokens_per_second": measured.tokens_per_second,
            },
            "notes": list(self.notes),
            "refusals": [str(error) for error in self.refusals],
        }


def make_plan(
    context: StageContext,
    machine: resources.Machine | None = None,
    disk: Callable[[Path], resources.Disk] = resources.disk_of,
) -> Plan:
    """Return the plan of a run; its `refusals` are the reasons why the run cannot start.

    Args:
        machine: the resources to plan for; None for this machine.
        disk: a function that returns the `Disk` of a folder.

    Raises:
        InputError: the data, the base or the adapter to start from is invalid, or the base is
            unknown.
        UsageError: there are no prepared rows and no data set, or the recipe names a layer that the
            base does not have.
    """
    machine, facts = machine or resources.of_run(context), _shapes(context)
    lora_adapters.open_start(context, facts)
    rows = planned_rows(context)
    batch = resources.Batch.largest(rows.lengths, rows.completions, context.recipe, machine)
    recipe, changes = resources.adapted(context.recipe, facts, batch, machine)
    steps = schedule(rows.count, recipe.training)
    saved = checkpoints(steps.last, recipe.training)
    written = resources.artifacts(facts, context, tokens=rows.tokens, checkpoints=saved[1])
    disks: dict[int, resources.Disk] = {}
    for artifact in written:
        where = disk(artifact.path.parent)
        before = disks.get(where.device, where)
        disks[where.device] = replace(before, missing=before.missing + artifact.missing)
    epochs = steps.last / steps.per_epoch if steps.per_epoch else 0
    found = Plan(
        context.recipe,
        recipe,
        changes,
        facts,
        rows,
        steps,
        saved,
        batch,
        machine,
        resources.training_memory(facts, recipe, batch, machine.place, shards=machine.shards),
        written,
        tuple(disks.values()),
        measured(context.run_dir.folder, recipe, machine, epochs * rows.tokens),
    )
    return replace(found, notes=notes(found), refusals=tuple(refusals(found)))


def checkpoints(steps: int, training: Training) -> tuple[int, int]:
    """Return the number of checkpoints written, and the maximum that exist at the same time.

    With the setting `keep`, at most `keep` + 2 checkpoints exist: the latest `keep`, the best, and
    a new checkpoint that is written before the oldest is deleted. Checkpoints that are written only
    because the dev loss is the lowest so far are not counted.
    """
    written = math.ceil(steps / training.save_steps)
    return written, written if training.keep is None else min(written, training.keep + 2)


def _shapes(context: StageContext) -> BaseFacts:
    """Return the shapes of the base, from its files or from the published list.

    Raises:
        InputError: the base is neither on this machine nor in the list, or cannot be a base.
    """
    base = context.recipe.base
    facts = describe(context) or published(base)
    if facts is None:
        raise InputError(
            f"the base {base} is unknown and not on this machine",
            hint="Name the folder of the base, or download the base first. Only the shapes of "
            "Qwen2.5 and SmolLM2 are known without the files.",
        )
    return replace(facts, name=base)


def refusals(plan: Plan) -> Iterator[HarnessError]:
    """Yield an error for each reason why a run cannot start."""
    need, gpu, recipe = plan.need, plan.machine.gpu, plan.recipe
    if not plan.rows.count:
        longer = f": all have more than {recipe.training.max_length:,} tokens"
        yield InputError(
            f"there is no row to train on{longer if plan.rows.too_long else ''}",
            hint="Use a smaller dev_share, a larger max_length, or more annotations.",
        )
        return
    try:
        resources.check_processes(recipe, plan.machine)
    except UsageError as error:
        yield error
    if gpu is None and recipe.quantization.compute == "float16":
        yield InputError(
            "quantization.compute is float16, which needs a GPU, and no GPU can be used",
            hint="Use bfloat16 on a CPU.",
        )
    if need > plan.machine.free:
        device = f"the GPU ({gpu.name})" if gpu else "this machine, without a GPU to use,"
        each = " for each process" if plan.machine.processes > 1 else ""
        yield InputError(
            f"training {plan.facts.name} needs {in_words(need)} of memory{each}, and {device} has "
            f"{in_words(plan.machine.free)} free{each}",
            hint=memory_knobs(plan),
        )
    largest = max(plan.artifacts, key=lambda artifact: artifact.missing)
    for disk in plan.disks:
        if disk.missing * SPARE > disk.free:
            yield InputError(
                f"the artifacts need {in_words(disk.missing)} more, and the disk has "
                f"{in_words(disk.free)} free",
                where=str(disk.path),
                hint="Name a folder on another disk with --out. The largest part is "
                f"{largest.name} with {in_words(largest.bytes)}.",
            )


def notes(plan: Plan) -> tuple[str, ...]:
    """Return warnings and hints about a run, as clauses."""
    recipe, rows, machine, need = plan.recipe, plan.rows, plan.machine, plan.need
    missing = [name for name in packages(recipe) if importlib.util.find_spec(name) is None]
    found = {
        "the base is not on this machine: training needs it, a plan does not": (
            plan.facts.source == PUBLISHED
        ),
        f"the rows include {rows.too_long:,} of more than {recipe.training.max_length:,} tokens; "
        "`/finetune prepare` refuses such rows and names them": rows.too_long,
        f"rows and tokens are {rows.source}; `/finetune prepare` makes them exact": rows.estimated,
        f"{counted(rows.count, 'row')} cannot fill one step of {recipe.training.rows_per_step}: "
        "reduce batch or accumulation for more steps": (
            0 < rows.count < recipe.training.rows_per_step
        ),
        f"there is no GPU to use, so training runs on the CPU{machine.gpu_unused and ': '}"
        f"{machine.gpu_unused}": machine.gpu is None,
        f"memory is tight: {in_words(need)} of {in_words(plan.machine.free)} free": (
            NEAR * plan.machine.free < need <= plan.machine.free
        ),
        f"training needs packages that are not installed: {', '.join(missing)}": missing,
    }
    return tuple(note for note, applies in found.items() if applies)


def memory_knobs(plan: Plan) -> str:
    """Return a hint to change a setting, or to use a smaller base.

    The hint names the two changes that save the most memory. Changes that save no memory are left
    out.

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
    needs, machine = [], plan.machine
    for words, changes in knobs.items():
        recipe = overridden(plan.recipe, changes)
        rows = plan.rows.up_to(recipe.training.max_length)
        batch = resources.Batch.largest(rows.lengths, rows.completions, recipe, machine)
        memory = resources.training_memory(
            plan.facts, recipe, batch, machine.place, shards=machine.shards
        )
        needs.append((sum(memory.values()), words))
    best = sorted(one for one in needs if one[0] < plan.need)[:2]
    found = [f"{words} ({in_words(need)})" for need, words in best]
    return f"Use {' or '.join(found)}, or a smaller base." if found else "Use a smaller base."


def measured(folder: Path, recipe: Recipe, machine: resources.Machine, tokens: float) -> Measured:
    """Return the measurements of the run in `folder`, or an empty `Measured`.

    The result is empty if there are no measurements, or if the run differs from the plan in a
    setting of `RELEVANT`, the device or the number of processes.

    Args:
        recipe: the planned recipe.
        tokens: number of tokens of all planned steps.
    """
    try:
        before = read_json(folder / RUN)
        earlier, device = Recipe.model_validate(before["recipe"]), before["guard"]["device"]
        alike = (earlier.model_dump(include=RELEVANT), device, before.get("processes", 1))
    except (OSError, ValueError, KeyError, TypeError):
        return Measured()
    kind = "cuda" if machine.gpu else "cpu"
    if alike != (recipe.model_dump(include=RELEVANT), kind, machine.processes):
        return Measured()
    lines = Metrics(folder / METRICS).read()
    speeds = [found for line in lines if (found := line.get("tokens_per_second"))]
    speed = statistics.median(speeds) if speeds else None
    peak = max((line.get("peak_bytes") or 0 for line in lines), default=0)
    return Measured(speed, tokens / speed if speed else None, peak or None)


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
    """Return the refusals of a plan or the resources that the run needs, and adapted settings."""
    lines = [f"cannot start: {error}" for error in plan.refusals]
    if not lines:
        need, free = in_words(plan.need), in_words(plan.machine.free)
        missing = in_words(sum(disk.missing for disk in plan.disks))
        disks = " and ".join(in_words(disk.free) for disk in plan.disks)
        count = plan.machine.processes
        where, each = (f" in {count} processes", " for each") if count > 1 else ("", "")
        place, seconds = "fits", plan.measured.seconds
        if plan.machine.gpu is None:
            time = "time not measured" if seconds is None else f"about {duration(seconds)}"
            place = (
                f"fits in memory, but on the CPU ({counted(plan.machine.cores, 'core')}; {time})"
            )
        lines.append(
            f"{place}: training {plan.facts.name}{where} needs {need} of memory{each}, and "
            f"{free} are free{each}; it writes {missing}, and the disk has {disks} free"
        )
        if plan.machine.gpu is None and plan.facts.parameters >= LARGE:
            lines.append(
                f"{plan.facts.parameters / 1e9:.1f} billion parameters are too many for a CPU: "
                "use --preset smollm2-cpu, or a machine with a GPU"
            )
    return "\n".join([*lines, *plan.adapted])


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
        f"to write in {disk.path}: {in_words(disk.missing)}, free: {in_words(disk.free)}"
        for disk in plan.disks
    ]
    return "\n".join(lines)


def _sample(plan: Plan) -> str:
    which = "" if plan.rows.decoded else AS_GIVEN
    lines = [f'one row{which}; "{IN_LOSS.strip()}" marks the part in the loss']
    # Each piece begins on a new line, even if it continues a line of the row.
    for text, in_loss in plan.rows.sample:
        mark = IN_LOSS if in_loss else NOT_IN_LOSS
        lines += [f"{mark}{line}".rstrip() for line in text.splitlines()]
    return "\n".join(lines)
