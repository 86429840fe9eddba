"""Merge the sources: exclude held-out papers, apply precedence, remove duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import InputError
from harness.runs.targets import digest
from harness.support.text_input import shown
from skills.corpus.table import TableRow
from skills.finetune.data.dataset import Choices, Dataset, InputFile
from skills.finetune.data.held_out import HeldOut, read_held_out
from skills.finetune.data.near_duplicates import AbstractIndex
from skills.finetune.data.rows import (
    SOURCES,
    AnnotationRow,
    LeftOut,
    Reading,
    Source,
    Step,
    rows_of,
)


def merge(
    entries: Mapping[Source, Iterable[TableRow | InputError]],
    files: Mapping[Source, Sequence[Path]],
    dev: Sequence[str],
    test: Sequence[str],
    choices: Choices,
    reading: Reading,
    tick: Callable[[str], None],
) -> Dataset:
    """Merge the rows: gold takes precedence over curated, curated over agent.

    In this order: held-out papers are excluded; of each paper the row of the first source is kept;
    with `curated_only`, agent annotations that were not curated are removed; of nearly identical
    abstracts the first is kept.

    Args:
        files: the tables that the rows come from, for the manifest.
        dev, test: the papers to hold out, as in `read_held_out`.
        tick: called with the current step.

    Raises:
        InputError: a table or a list of ids cannot be read, or no row is left.
    """
    held_out = [
        *(read_held_out("dev", given, reading) for given in dev),
        *(read_held_out("test", given, reading) for given in test),
    ]
    named = [
        *((source, path) for source in SOURCES for path in files.get(source, ())),
        *((held.split, held.path) for held in held_out if held.path is not None),
    ]
    rows, excluded = _read(entries, reading, tick)
    tick("comparing abstracts")
    rows, held = HeldOut(held_out, choices.max_similarity).split_off(rows)
    rows, overridden = _first_of_each_paper(rows)
    rows, not_curated = _curated(rows) if choices.curated_only else (rows, [])
    rows, duplicates = _without_duplicates(rows, AbstractIndex(choices.max_similarity))
    excluded += (*held, *overridden, *not_curated, *duplicates)
    if not rows:
        raise _nothing_left(excluded)
    return Dataset(
        reading.framework,
        tuple(rows),
        tuple(sorted(excluded, key=lambda left: SOURCES.index(left.source))),
        choices,
        tuple(held_out),
        tuple(InputFile(role, shown(path), digest(path.expanduser())) for role, path in named),
    )


def _nothing_left(excluded: Sequence[LeftOut]) -> InputError:
    first = f" The first: {excluded[0].where}: {excluded[0].reason}." if excluded else ""
    return InputError(
        "no row is left to train on", hint=f"{len(excluded):,} rows were read and left out.{first}"
    )


def _read(
    entries: Mapping[Source, Iterable[TableRow | InputError]],
    reading: Reading,
    tick: Callable[[str], None],
) -> Step:
    rows, out = list[AnnotationRow](), list[LeftOut]()
    for source in SOURCES:
        tick(f"reading {source}")
        valid, invalid = rows_of(source, entries[source], reading.framework)
        rows += valid
        out += invalid
    return rows, out


def _curated(rows: list[AnnotationRow]) -> Step:
    reason = "it is not among the curated ones"
    out = [row.left_out("not_curated", reason) for row in rows if row.source == "agent"]
    return [row for row in rows if row.source != "agent"], out


def _first_of_each_paper(rows: list[AnnotationRow]) -> Step:
    kept: dict[str, AnnotationRow] = {}
    out = []
    for row in rows:
        over = kept.setdefault(row.key, row)
        if over is not row:
            other = " with another abstract" if over.paper.sha256 != row.paper.sha256 else ""
            reason = f"{over.source} has the paper{other}"
            out.append(row.left_out("overridden", reason, of=over.paper.id, of_where=over.where))
    return list(kept.values()), out


def _without_duplicates(rows: list[AnnotationRow], index: AbstractIndex[AnnotationRow]) -> Step:
    kept, out = [], []
    for row in rows:
        if (match := index.find(row.paper.abstract)) is None:
            index.add(row.paper.abstract, row)
            kept.append(row)
        else:
            reason = f"another paper has {'' if match.exact else 'nearly '}the same abstract"
            out.append(
                row.left_out(
                    "near_duplicate",
                    reason,
                    of=match.value.paper.id,
                    of_where=match.value.where,
                    similarity=round(match.similarity, 4),
                )
            )
    return kept, out
