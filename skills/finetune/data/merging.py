"""Merge the sources: exclude held-out papers, apply precedence, remove duplicates."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import InputError
from skills.finetune.data.dataset import Choices, Dataset, InputFile
from skills.finetune.data.held_out import HeldOut, HeldOutSet
from skills.finetune.data.near_duplicates import AbstractIndex
from skills.finetune.data.rows import SOURCES, AnnotationRow, LeftOut, SourceRows, left_out
from skills.nanda.framework import Framework, nanda

Step = tuple[list[AnnotationRow], list[LeftOut]]
"""The rows that a step keeps, and those it leaves out."""


def merge(
    sources: Sequence[SourceRows],
    held_out: Sequence[HeldOutSet] = (),
    choices: Choices | None = None,
    framework: Framework | None = None,
    inputs: Sequence[InputFile] = (),
) -> Dataset:
    """Merge the rows: gold takes precedence over curated, curated over agent.

    In this order: held-out papers are excluded; of each paper the row of the first source is kept;
    with `curated_only`, agent annotations that were not curated are removed; of nearly identical
    abstracts the first is kept.

    Args:
        inputs: the files that the rows come from, for the manifest.

    Raises:
        InputError: no row is left.
    """
    choices = choices or Choices()
    ordered = sorted(sources, key=lambda each: SOURCES.index(each.source))
    excluded = [left for each in ordered for left in each.left_out]
    rows = [row for each in ordered for row in each.rows]
    index = HeldOut(held_out, choices.max_similarity)
    for step in (
        index.split_off,
        _first_of_each_paper,
        lambda rows: _curated(rows) if choices.curated_only else (rows, []),
        lambda rows: _without_duplicates(rows, AbstractIndex(choices.max_similarity)),
    ):
        rows, out = step(rows)
        excluded += out
    if not rows:
        first = f" The first: {excluded[0].where}: {excluded[0].reason}." if excluded else ""
        raise InputError(
            "no row is left to train on",
            hint=f"{len(excluded):,} rows were read and left out.{first}",
        )
    return Dataset(
        framework or nanda(),
        tuple(rows),
        tuple(sorted(excluded, key=lambda left: SOURCES.index(left.source))),
        {source: sum(s.read for s in sources if s.source == source) for source in SOURCES},
        choices,
        tuple(held_out),
        tuple(inputs),
    )


def _curated(rows: Sequence[AnnotationRow]) -> Step:
    reason = "it is not among the curated ones"
    out = [left_out(row, "not_curated", reason) for row in rows if row.source == "agent"]
    return [row for row in rows if row.source != "agent"], out


def _first_of_each_paper(rows: Sequence[AnnotationRow]) -> Step:
    kept: dict[str, AnnotationRow] = {}
    out = []
    for row in rows:
        over = kept.setdefault(row.key, row)
        if over is not row:
            other = " with another abstract" if over.paper.sha256 != row.paper.sha256 else ""
            out.append(left_out(row, "overridden", f"{over.source} has the paper{other}", over))
    return list(kept.values()), out


def _without_duplicates(rows: Sequence[AnnotationRow], index: AbstractIndex[AnnotationRow]) -> Step:
    kept, out = [], []
    for row in rows:
        if (match := index.find(row.paper.abstract)) is None:
            index.add(row.paper.abstract, row)
            kept.append(row)
        else:
            reason = f"another paper has {'' if match.exact else 'nearly '}the same abstract"
            out.append(left_out(row, "near_duplicate", reason, match.value, match.similarity))
    return kept, out
