"""The training set of a run: /curate --build."""

from __future__ import annotations

from collections.abc import Mapping

from harness.api.skill import Call, Write
from skills.curate.report.summary import Run
from skills.finetune import dataset_command
from skills.finetune.data.held_out import read_held_out
from skills.finetune.data.merging import merge
from skills.finetune.data.rows import read_annotations, rows_of
from skills.nanda.framework import Framework


def check(call: Call, framework: Framework) -> None:
    """Read the other tables of the training set, before anything is judged.

    Raises:
        InputError: a table or a list of the data set options cannot be used.
    """
    options, reading = call.options, dataset_command.reading(call, framework)
    rows_of("gold", read_annotations(options.gold, reading), framework)
    for given in options.dev:
        read_held_out("dev", given, reading)
    for given in options.test:
        read_held_out("test", given, reading)


def files(call: Call, run: Run, framework: Framework) -> Mapping[str, Write]:
    """Return the writers of the training set and its manifest.

    The input's annotations count as the agent's, those that were kept as the curated ones.

    Raises:
        InputError: a table of the data set options cannot be used, or no row is left.
    """
    options, reading = call.options, dataset_command.reading(call, framework)
    judged = [(one.item.entry, one.decision == "kept") for one in run.verdicts]
    with call.screen.progress("building the training set") as tick:
        dataset = merge(
            {
                "gold": read_annotations(options.gold, reading),
                "agent": [entry for entry, _ in judged if entry],
                "curated": [entry for entry, is_kept in judged if entry and is_kept],
            },
            {"gold": options.gold, "agent": [run.source.path] if run.source.path else []},
            options.dev,
            options.test,
            dataset_command.choices(options),
            reading,
            tick,
        )
    made = dataset_command.result(call, dataset, options)
    return {"dataset": made.writers[".jsonl"], "manifest": made.companions["manifest"]}
