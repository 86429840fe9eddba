"""The subcommand `/finetune dataset`: build a data set, its manifest and its summary."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.api.skill import Call, Result
from harness.errors import UsageError
from skills.corpus.db.connection import default_path
from skills.corpus.table import Columns
from skills.finetune.build_finetune_from_annotations import Reading, build_dataset
from skills.finetune.data.dataset import Choices, Dataset
from skills.finetune.data.manifest import (
    in_words,
    manifest,
    manifest_path,
    notices,
    write_manifest,
)
from skills.finetune.data.options import DatasetOptions
from skills.finetune.data.token_counts import histogram, open_counter, with_progress
from skills.nanda.framework import Framework
from skills.nanda.framework_option import selected_framework


def make_dataset(call: Call) -> Result:
    """Run `/finetune dataset`.

    Raises:
        UsageError: there is text, or an input table would be overwritten.
        InputError: a table or an option is invalid.
    """
    options = call.options
    if call.text.strip():
        raise UsageError(
            f"/finetune dataset does not accept text: {call.text.strip()[:40]!r}",
            hint="Name tables with `--gold FILE`, `--agent FILE` and `--curated FILE`.",
        )
    for target in call.targets:
        refuse_inputs((target, manifest_path(target)), options)
    framework = selected_framework(options.framework, call.frameworks)
    with call.screen.progress("building the data set") as tick:
        dataset = build_dataset(
            options.gold,
            options.agent,
            options.curated,
            dev=options.dev,
            test=options.test,
            choices=choices(options),
            reading=reading(call, framework),
            tick=tick,
        )
    return result(call, dataset, options)


def refuse_inputs(written: Iterable[Path], options: DatasetOptions) -> None:
    """Raise UsageError if an input table, perhaps annotated by people, would be overwritten."""
    read = {path.resolve() for path in options.inputs}
    for path in written:
        if path.resolve() in read:
            raise UsageError("is also an input", where=str(path), hint="Save to another file.")


def reading(call: Call, framework: Framework) -> Reading:
    """Return how the options of a command read tables."""
    options = call.options
    columns = Columns(options.abstract_column, options.id_column)
    corpus = options.db or default_path(call.settings)
    return Reading(framework, columns, corpus, call.screen.notice)


def choices(options: DatasetOptions) -> Choices:
    """Return the choices that the options express."""
    return Choices(
        options.curated_only,
        options.max_similarity,
        {
            "gold": options.gold_weight,
            "curated": options.curated_weight,
            "agent": options.agent_weight,
        },
        options.rare_weight,
    )


def result(call: Call, dataset: Dataset, options: DatasetOptions) -> Result:
    """Count the tokens of a data set and summarize it.

    Returns: the data set, saved as .jsonl, with its manifest as the companion "manifest" and as
        the output of `--json`.
    """
    screen = call.screen
    with (
        screen.progress("counting tokens") as tick,
        open_counter(
            options.tokenizer, call.models.registry, call.settings.cache_dir, screen.notice
        ) as counter,
    ):
        pairs = [counter.count(row) for row in with_progress([*dataset.examples()], tick)]
        tokens = histogram(counter.name, counter.sha256, counter.counts, pairs)
    made = manifest(dataset, tokens)
    for line in notices(dataset):
        screen.notice(line)
    if not call.targets:
        screen.notice("the data set is not saved: add `save to FILE.jsonl`")
    else:
        screen.notice(in_words(made))
    return Result(
        in_words(made),
        summary=made,
        writers={".jsonl": dataset.write},
        companions={"manifest": lambda file: write_manifest(file, made)},
    )
