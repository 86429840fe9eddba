"""The manifest of a data set: where its rows come from, and which rows were left out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from harness._version import __version__
from harness.support.text_input import shown
from harness.terminal.rendering import table
from skills.corpus.table import paper_key
from skills.finetune.data.dataset import Dataset
from skills.finetune.data.rows import SOURCES, WHYS, LeftOut

VERSION = 1
SHOWN = 5
"""Rows named on stderr; the manifest lists all."""


def manifest_path(target: Path) -> Path:
    """Return the path of a manifest: "train.manifest.json" beside "train.jsonl"."""
    return target.with_suffix(".manifest.json")


def manifest(dataset: Dataset, tokens: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest, ready for JSON; it is the same for the same inputs.

    Args:
        tokens: `token_counts.histogram` of its rows.

    Returns: manifest (its version), rows, sha256 (of the .jsonl), counts for each source (read is
        the sum of the others), options, framework, harness, inputs, held_out, tokens, rare (the
        number of rows for each move that most do not state), and left_out: each other row with its
        place (`where`) and reason. Rows overridden by another source with the same abstract, and
        rows that were not curated, are only counted.
    """
    framework, choices = dataset.framework, dataset.choices
    return {
        "manifest": VERSION,
        "rows": len(dataset.rows),
        "sha256": dataset.sha256,
        "counts": dataset.counts,
        "options": asdict(choices),
        "framework": framework.identity,
        "harness": __version__,
        "inputs": [asdict(file) for file in dataset.inputs],
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
        "left_out": [left.as_dict() for left in dataset.left_out if _is_listed(left)],
    }


def write_manifest(file: IO[bytes], made: Mapping[str, Any]) -> None:
    """Write a manifest as JSON in UTF-8."""
    file.write(json.dumps(made, ensure_ascii=False, indent=1).encode() + b"\n")


def in_words(made: Mapping[str, Any]) -> str:
    """Format a manifest for people: counts and lengths."""
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
    kept_out = [f"{held['papers']:,} for {held['split']}" for held in made["held_out"]]
    return "\n\n".join(
        (
            f"{made['rows']:,} rows",
            table(headers, rows),
            *_rare_moves(made),
            *[f"Papers held out of training: {', '.join(kept_out)}."] * bool(kept_out),
            table(["tokens", "p50", "p95", "max"], lengths),
            f"Counted by {tokens['tokenizer']['name']}: {tokens['tokenizer']['counts']}.",
        )
    )


def _rare_moves(made: Mapping[str, Any]) -> Iterator[str]:
    times = made["options"]["rare_weight"]
    if times != 1 and made["rare"]:
        moves = ", ".join(
            f"{name} ({count:,} of {made['rows']:,})" for name, count in made["rare"].items()
        )
        yield f"Rows that state a rare move have {times:g} times the weight: {moves}."


def notices(dataset: Dataset) -> Iterator[str]:
    """Yield what to show: the first rows left out for their content, and unknown ids."""
    for why, what in (
        ("rejected", "rejected"),
        ("excluded", "held out of training"),
        ("near_duplicate", "left out: another paper has the same abstract, or nearly"),
    ):
        those = [left for left in dataset.left_out if left.why == why]
        for left in those[:SHOWN]:
            of = "" if left.of is None else f" ({left.of}, {left.of_where})"
            yield f"{left.where}: {left.reason}{of}"
        if those:
            more = f", {SHOWN} of them shown here" if len(those) > SHOWN else ""
            rows = "1 row is" if len(those) == 1 else f"{len(those):,} rows are"
            yield f"{rows} {what}{more}; the manifest lists them"
    found = {paper_key(left.id) for left in dataset.left_out}
    for held in dataset.held_out:
        for paper in held.papers if held.path is None else ():
            if paper_key(paper.id) not in found:
                yield f"{paper.where}: no row has the id {paper.id[:60]}"


def _is_listed(left: LeftOut) -> bool:
    """Return True if a row is listed in the manifest, and not only counted."""
    if left.why == "overridden":
        return "another abstract" in left.reason
    return left.why != "not_curated"
