"""The subcommand `/finetune dataset`: build a data set, its manifest and its summary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness._version import __version__
from harness.api.skill import Call, Result
from harness.errors import UsageError
from harness.support.text_input import shown
from harness.terminal.rendering import table
from skills.corpus.db.connection import default_path
from skills.corpus.table import Columns, paper_key
from skills.finetune.build_finetune_from_annotations import Reading, build_dataset
from skills.finetune.dataset.annotated_rows import SOURCES, WHYS
from skills.finetune.dataset.dataset_options import Choices, DatasetOptions, Source
from skills.finetune.dataset.merging import Dataset
from skills.finetune.dataset.token_counts import histogram, open_counter, with_progress
from skills.nanda.framework import Framework, selected_framework
from skills.nanda.text import counted

MANIFEST_VERSION = 1
NAMED_ROWS = 5
"""Maximum number of left-out rows that are printed for each reason; the manifest lists all."""


def make_dataset(call: Call) -> Result:
    """Run `/finetune dataset`, and return its result.

    Raises:
        UsageError: the line has text besides options, or an input file would be overwritten.
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
    """Raise UsageError if one of the paths in `written` is also an input file."""
    read = {path.resolve() for path in options.inputs}
    for path in written:
        if path.resolve() in read:
            raise UsageError("is also an input", where=str(path), hint="Save to another file.")


def reading(call: Call, framework: Framework) -> Reading:
    """Return the settings with which the command reads its tables."""
    options = call.options
    columns = Columns(options.abstract_column, options.id_column)
    corpus = options.db or default_path(call.settings)
    return Reading(framework, columns, corpus, call.screen.notice)


def choices(options: DatasetOptions) -> Choices:
    """Return the `Choices` with the values of the options."""
    weights: dict[Source, float] = {
        "gold": options.gold_weight,
        "curated": options.curated_weight,
        "agent": options.agent_weight,
    }
    return Choices(options.curated_only, options.max_similarity, weights, options.rare_weight)


def result(call: Call, dataset: Dataset, options: DatasetOptions) -> Result:
    """Count the tokens of a data set, print its notices, and return the result of the command.

    The result saves the data set as .jsonl, with the manifest beside this file. The manifest is
    also the `--json` output.
    """
    screen = call.screen
    with (
        screen.progress("counting tokens") as tick,
        open_counter(
            options.tokenizer, call.models.registry, call.settings.cache_dir, screen.notice
        ) as counter,
    ):
        pairs = [
            counter.count(row["system"], row["prompt"], row["completion"])
            for row in with_progress([*dataset.examples()], tick)
        ]
        tokens = histogram(counter.name, counter.sha256, counter.counts, pairs)
    made = manifest(dataset, tokens)
    unsaved = "the data set is not saved: add `save to FILE.jsonl`"
    for line in (*notices(dataset), manifest_text(made) if call.targets else unsaved):
        screen.notice(line)
    return Result(
        manifest_text(made),
        summary=made,
        writers={".jsonl": dataset.write},
        companions={
            "manifest": lambda file: file.write(
                json.dumps(made, ensure_ascii=False, indent=1).encode() + b"\n"
            )
        },
    )


def manifest_path(target: Path) -> Path:
    """Return the path of a manifest, such as train.manifest.json for the data set train.jsonl."""
    return target.with_suffix(".manifest.json")


def manifest(dataset: Dataset, tokens: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest as JSON values; equal inputs give equal manifests.

    Args:
        tokens: the result of `token_counts.histogram` for the rows.

    Returns:
        manifest: the version of the format.
        rows, sha256: the number of rows, and the digest of the .jsonl file.
        counts: for each source, the number of rows read, written, and left out for each reason.
        rare: as in `Dataset.rare`.
        left_out: each row that is left out, with its place (`where`) and reason. Two kinds of rows
            are only counted: rows that were not curated, and rows whose paper occurs in a
            preferred source with the same abstract.
        options, framework, harness, inputs, held_out: how the data set was built.
        tokens: the argument `tokens`.
    """
    return {
        "manifest": MANIFEST_VERSION,
        "rows": len(dataset.rows),
        "sha256": dataset.sha256,
        "counts": dataset.counts,
        "options": asdict(dataset.choices),
        "framework": dataset.framework.identity,
        "harness": __version__,
        "inputs": list(dataset.inputs),
        "held_out": [
            {
                "split": held.split,
                "path": None if held.path is None else shown(held.path),
                "papers": len(held.papers),
            }
            for held in dataset.held_out
        ],
        "tokens": tokens,
        "rare": dataset.rare,
        "left_out": [
            left.as_dict()
            for left in dataset.left_out
            if left.why != "not_curated"
            and (left.why != "overridden" or "another abstract" in left.reason)
        ],
    }


def manifest_text(made: Mapping[str, Any]) -> str:
    """Return the counts and lengths of a manifest as tables and sentences for display."""
    counts, tokens = made["counts"], made["tokens"]
    names = [why for why in WHYS if any(counts[source][why] for source in SOURCES)]
    headers = ["source", "read", *(name.replace("_", " ") for name in names), "written", "weight"]
    rows = [
        [
            source,
            *(f"{counts[source][name]:,}" for name in ("read", *names, "written")),
            made["options"]["weights"][source],
        ]
        for source in SOURCES
        if counts[source]["read"]
    ]
    lengths = [
        [part, *(f"{tokens[part][name]:,}" for name in ("p50", "p95", "max"))]
        for part in ("prompt", "completion", "total")
    ]
    parts = [counted(made["rows"], "row"), table(headers, rows)]
    factor, rare = made["options"]["rare_weight"], made["rare"]
    if factor != 1 and rare:
        moves = ", ".join(f"{name} ({rare[name]:,} of {made['rows']:,})" for name in rare)
        parts.append(f"Rows that state a rare move have {factor:g} times the weight: {moves}.")
    if made["held_out"]:
        papers = [f"{held['papers']:,} for {held['split']}" for held in made["held_out"]]
        parts.append(f"Papers held out of training: {', '.join(papers)}.")
    parts.append(table(["tokens", "p50", "p95", "max"], lengths))
    counter = tokens["tokenizer"]
    return "\n\n".join([*parts, f"Counted by {counter['name']}: {counter['counts']}."])


def notices(dataset: Dataset) -> Iterator[str]:
    """Yield messages about left-out rows, and about ids listed in --dev or --test that no row has.

    The ids in a file that --dev or --test names are not checked.
    """
    for why, outcome in (
        ("rejected", "rejected"),
        ("excluded", "held out of training"),
        ("near_duplicate", "left out: another paper has the same or nearly the same abstract"),
    ):
        those = [left for left in dataset.left_out if left.why == why]
        for left in those[:NAMED_ROWS]:
            of = "" if left.of is None else f" ({left.of}, {left.of_where})"
            yield f"{left.where}: {left.reason}{of}"
        if those:
            more = f", {NAMED_ROWS} of them shown here" if len(those) > NAMED_ROWS else ""
            rows = "1 row is" if len(those) == 1 else f"{len(those):,} rows are"
            yield f"{rows} {outcome}{more}; the manifest lists them"
    found = {paper_key(left.id) for left in dataset.left_out}
    for held in dataset.held_out:
        for paper in held.papers if held.path is None else ():
            if paper_key(paper.id) not in found:
                yield f"{paper.where}: no row has the id {paper.id[:60]}"
