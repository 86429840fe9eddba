"""/curate --build: the training set made of a run, beside its target."""

from __future__ import annotations

from collections.abc import Mapping

from harness.skills import Call, Write
from skills.corpus.columns import Columns
from skills.corpus.database import default_path
from skills.curate.summary import Run
from skills.finetune import dataset_command
from skills.finetune.build_finetune_from_annotations import Reading, build_from_entries
from skills.nanda.framework import Framework


def files(call: Call, run: Run, framework: Framework) -> Mapping[str, Write]:
    """What writes the training set and its manifest.

    The input's annotations are the agent's, those that were kept the curated ones.

    Raises:
        InputError: a table of the data set's options cannot be used, or no row is left.
    """
    options = call.options
    entries = [(one.item.entry, one.decision == "kept") for one in run.verdicts]
    with call.screen.progress("making the data set") as tick:
        dataset = build_from_entries(
            options.gold,
            [entry for entry, _ in entries if entry],
            [entry for entry, is_kept in entries if entry and is_kept],
            agent_csv=run.source.path,
            dev=options.dev,
            test=options.test,
            choices=dataset_command.choices(options),
            reading=Reading(
                framework,
                Columns(options.abstract_column, options.id_column),
                options.db or default_path(call.settings),
            ),
            tick=tick,
        )
    made = dataset_command.result(call, dataset, options)
    return {"dataset": made.writers[".jsonl"], "manifest": made.companions["manifest"]}
