"""Sources put together: what is kept out, what has precedence, what is the same."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import InputError
from skills.finetune.data.dataset import Choices, Dataset, InputFile
from skills.finetune.data.held_out import HeldOut, HeldOutSet
from skills.finetune.data.near_duplicates import NearDuplicates, Sketches
from skills.finetune.data.rows import SOURCES, AnnotationRow, LeftOut, SourceRows, Why
from skills.nanda.framework import Framework, nanda

Parted = tuple[list[AnnotationRow], list[LeftOut]]
"""Rows that stay, and those that a step leaves out."""


def merge(
    sources: Sequence[SourceRows],
    held_out: Sequence[HeldOutSet] = (),
    choices: Choices | None = None,
    framework: Framework | None = None,
    inputs: Sequence[InputFile] = (),
) -> Dataset:
    """Put rows together: gold over curated, curated over agent.

    In this order: what is held out goes; of each paper the row of the first source stays;
    annotations that were not curated go, if only curated ones are wanted; of abstracts that are
    nearly the same the first stays.

    Args:
        inputs: the files that the rows come from, for the manifest.

    Raises:
        InputError: no row is left.
    """
    choices, sketches = choices or Choices(), Sketches()
    apart = HeldOut(held_out, sketches, choices.max_similarity)
    ordered = sorted(sources, key=lambda each: SOURCES.index(each.source))
    rows = [row for each in ordered for row in each.rows]
    left_out = [left for each in ordered for left in each.left_out]
    for step in (
        apart.split_off,
        _first_of_each_paper,
        _curated if choices.curated_only else _all,
        lambda rows: _different(rows, sketches, choices.max_similarity),
    ):
        rows, out = step(rows)
        left_out += out
    if not rows:
        first = f" The first: {left_out[0].where}: {left_out[0].reason}." if left_out else ""
        raise InputError(
            "no row is left to train on",
            hint=f"{len(left_out):,} rows were read and left out.{first}",
        )
    return Dataset(
        framework or nanda(),
        tuple(rows),
        tuple(sorted(left_out, key=lambda left: SOURCES.index(left.source))),
        {source: sum(s.read for s in sources if s.source == source) for source in SOURCES},
        choices,
        tuple(held_out),
        tuple(inputs),
    )


def _all(rows: Sequence[AnnotationRow]) -> Parted:
    return list(rows), []


def _curated(rows: Sequence[AnnotationRow]) -> Parted:
    reason = "it is not among the curated ones"
    out = [_left_out(row, "not_curated", reason) for row in rows if row.source == "agent"]
    return [row for row in rows if row.source != "agent"], out


def _first_of_each_paper(rows: Sequence[AnnotationRow]) -> Parted:
    kept: dict[str, AnnotationRow] = {}
    out = []
    for row in rows:
        over = kept.setdefault(row.key, row)
        if over is not row:
            other = " with another abstract" if over.paper.sha256 != row.paper.sha256 else ""
            out.append(_left_out(row, "overridden", f"{over.source} has the paper{other}", over))
    return list(kept.values()), out


def _different(rows: Sequence[AnnotationRow], sketches: Sketches, max_similarity: float) -> Parted:
    """Of abstracts that are the same, or nearly, the first."""
    kept: dict[str, AnnotationRow] = {}
    near = NearDuplicates(max_similarity)
    out = []
    for row in rows:
        abstract, digest = row.paper.abstract, row.paper.sha256
        sketch = sketches.of(abstract)
        if digest in kept:
            reason = "another paper has the same abstract"
            out.append(_left_out(row, "near_duplicate", reason, kept[digest], 1.0))
        elif (found := near.nearest(abstract, sketch)) is not None:
            reason, over = "another paper has nearly the same abstract", kept[found.name]
            out.append(_left_out(row, "near_duplicate", reason, over, found.similarity))
        else:
            kept[digest] = row
            near.add(digest, abstract, sketch)
    return list(kept.values()), out


def _left_out(
    row: AnnotationRow,
    why: Why,
    reason: str,
    over: AnnotationRow | None = None,
    similarity: float | None = None,
) -> LeftOut:
    return LeftOut(
        row.source,
        row.where,
        row.paper.id,
        why,
        reason,
        of=over.paper.id if over else None,
        of_where=over.where if over else None,
        similarity=None if similarity is None else round(similarity, 4),
    )
