"""`/finetune dataset`: from the options of a line to a data set, its manifest and its summary."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.api.skill import Call, Result
from harness.errors import UsageError
from skills.corpus.db.connection import default_path
from skills.corpus.tables.reader import Columns
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
from skills.finetune.data.token_counts import histogram, open_counter
from skills.nanda.framework_option import selected_framework


def make_dataset(call: Call) -> Result:
    """Run `/finetune dataset`.

    Raises:
        UsageError: there is text, which means nothing here; or a table would be written over.
        InputError: a table or an option cannot be used.
    """
    options = call.options
    if call.text.strip():
        raise UsageError(
            f"/finetune dataset takes no text, but found {call.text.strip()[:40]!r}",
            hint="`--gold FILE`, `--agent FILE` and `--curated FILE` name the tables.",
        )
    for target in call.targets:
        refuse_inputs((target, manifest_path(target)), options)
    framework = selected_framework(options.framework, call.frameworks)
    with call.screen.progress("making the data set") as tick:
        dataset = build_dataset(
            options.gold,
            options.agent,
            options.curated,
            dev=options.dev,
            test=options.test,
            choices=choices(options),
            reading=Reading(
                framework,
                Columns(options.abstract_column, options.id_column),
                options.db or default_path(call.settings),
            ),
            tick=tick,
        )
    return result(call, dataset, options)


def refuse_inputs(written: Iterable[Path], options: DatasetOptions) -> None:
    """Refuse to write over a table that is read: people have made the gold.

    Raises:
        UsageError: naming the file.
    """
    read = {path.resolve() for path in options.inputs}
    for path in written:
        if path.resolve() in read:
            raise UsageError("is an input itself", where=str(path), hint="Save to another file.")


def choices(options: DatasetOptions) -> Choices:
    """The choices that options stand for."""
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
    """Count the tokens of a data set and say what is in it.

    Returns: what is saved as .jsonl, with the companion "manifest" (`dataset_manifest`), which is
        also what `--json` prints.
    """
    screen = call.screen
    with (
        screen.progress("counting tokens") as tick,
        open_counter(
            options.tokenizer, call.models.registry, call.settings.cache_dir, screen.notice
        ) as counter,
    ):
        made = manifest(dataset, histogram(counter, dataset.examples(), tick))
    for line in notices(dataset):
        screen.notice(line)
    if not call.targets:
        screen.notice("nothing is saved: `save to FILE.jsonl` does that")
    else:
        screen.notice(in_words(made))
    return Result(
        in_words(made),
        summary=made,
        writers={".jsonl": dataset.write},
        companions={"manifest": lambda file: write_manifest(file, made)},
    )
