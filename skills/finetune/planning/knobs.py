"""What to change where a run does not fit into memory: the knob that costs least first."""

from __future__ import annotations

from collections.abc import Iterator

from skills.finetune.export.artifact_files import in_words
from skills.finetune.model.facts import BaseFacts, all_published
from skills.finetune.planning.memory import qlora
from skills.finetune.planning.rows import Rows
from skills.finetune.planning.terms import Place, total
from skills.finetune.run.recipe import Recipe, overridden

LENGTH_STEP = 64
"""Tokens between two values of max_length that are tried; also the least that a recipe can have."""


def memory_knob(facts: BaseFacts, recipe: Recipe, rows: Rows, place: Place, free: int) -> str:
    """The first change that makes a run fit into `free` bytes, as a sentence.

    In this order: what gives the same adapter (checkpointing, packed weights), what gives nearly
    the same (a smaller batch with as much more accumulation, then NF4), a smaller `max_length`, for
    which longer rows have to be left out, and another base.

    Raises:
        UsageError: the recipe names a layer that the base does not have.
    """
    least = recipe
    for least, words in _changes(recipe):
        if (need := _need(facts, least, rows, place)) <= free:
            return f"With {words}, it needs {in_words(need)}."
    return _shorter(facts, least, rows, place, free) or _smaller(least, rows, place, free)


def _changes(recipe: Recipe) -> Iterator[tuple[Recipe, str]]:
    """Changes with their words, each on top of those before it; the last needs the least."""
    training, said = recipe.training, ""
    if not training.checkpointing:
        recipe = overridden(recipe, {"training.checkpointing": True})
        said = "checkpointing, which gives the same result more slowly"
        yield recipe, said
        said += ", and "
    if recipe.quantization.kind == "nf4" and recipe.quantization.unpacked:
        recipe = overridden(recipe, {"quantization.unpacked": False})
        said += (
            "weights that stay packed (quantization.unpacked false), the same result more slowly"
        )
        yield recipe, said
        said += ", and "
    rows = training.rows_per_step
    for batch in [b for b in range(training.batch - 1, 0, -1) if rows % b == 0]:
        sizes = {"training.batch": batch, "training.accumulation": rows // batch}
        recipe = overridden(recipe, sizes)
        words = f"batch {batch} and accumulation {rows // batch}, the same effective batch"
        yield recipe, said + words
    if recipe.quantization.kind == "none":
        recipe = overridden(recipe, {"quantization.kind": "nf4"})
        batch = recipe.training.batch
        yield recipe, f"quantization nf4, batch {batch} and accumulation {rows // batch}"


def _need(facts: BaseFacts, recipe: Recipe, rows: Rows, place: Place) -> int:
    return total(qlora(facts, recipe, rows.largest(recipe.training.batch), place))


def _shorter(facts: BaseFacts, least: Recipe, rows: Rows, place: Place, free: int) -> str | None:
    """The largest max_length that fits; None where it would leave out half of the rows."""
    longest = max(rows.lengths, default=0)
    for length in range(longest // LENGTH_STEP * LENGTH_STEP, LENGTH_STEP - 1, -LENGTH_STEP):
        kept = rows.up_to(length)
        if 2 * kept.count < rows.count:
            return None
        if (need := _need(facts, least, kept, place)) <= free:
            return (
                f"With batch {least.training.batch}, accumulation {least.training.accumulation} "
                f"and max_length {length} it needs {in_words(need)}; "
                f"{rows.count - kept.count:,} of {rows.count:,} rows are longer and must go."
            )
    return None


def _smaller(least: Recipe, rows: Rows, place: Place, free: int) -> str:
    """The largest known base that fits."""
    for facts in all_published():
        if (need := _need(facts, least, rows, place)) <= free:
            return f"Take a smaller base: {facts.name} needs {in_words(need)}."
    return "No base that is known here is small enough: free memory, or take another machine."
