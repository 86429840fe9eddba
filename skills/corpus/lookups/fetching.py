"""Merge what several sources find, by identity."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from harness.api.skill import Write
from harness.errors import UsageError
from skills.corpus.identity.identifiers import KINDS
from skills.corpus.identity.matching import known, pairs
from skills.corpus.records import Found
from skills.corpus.references.csl_json import Item, item_of, without_et_al
from skills.nanda.paper import Paper

T = TypeVar("T")


def merged(found: Sequence[Found]) -> list[Found]:
    """Return papers of several sources, each once, in the order of their first occurrence.

    Preprint and published version count as one. What the first source does not state is taken from
    the others.
    """
    made: dict[int, Found] = {}
    for first, paper in zip(firsts([one.paper for one in found]), found, strict=True):
        made[first] = _with(made[first], paper) if first in made else paper
    return list(made.values())


def firsts(papers: Sequence[Paper]) -> list[int]:
    """Return for each paper the place of the first one that is the same by identity."""
    first = list(range(len(papers)))
    for one, other, _ in pairs(map(known, papers)):
        roots = _root(first, one), _root(first, other)
        first[max(roots)] = min(roots)
    return [_root(first, place) for place in range(len(papers))]


def interleaved(lists: Sequence[Sequence[T]]) -> list[T]:
    """Return the papers of several sources, the best of each first."""
    longest = max(map(len, lists), default=0)
    return [one[place] for place in range(longest) for one in lists if place < len(one)]


def _root(first: list[int], place: int) -> int:
    while first[place] != place:
        place = first[place]
    return place


def _with(one: Found, other: Found) -> Found:
    texts = ("title", "abstract", "authors", "published", "venue", "categories", "notice")
    more = {name: getattr(other, name) for name in texts if not getattr(one, name)}
    if one.cited is None:
        more["cited"] = other.cited
    if other.retracted and not one.retracted:
        more["retracted"] = True
    ids = {**other.identifiers, **one.identifiers}
    return replace(one, **more, identifiers={kind: ids[kind] for kind in KINDS if kind in ids})


SUFFIXES = (".jsonl", ".csv", ".bib", ".ris", ".csl.json")


def refuse(targets: Sequence[Path]) -> None:
    """Refuse targets that the papers of a search cannot be saved to, before it is paid for.

    Raises:
        UsageError: there is one.
    """
    for target in targets:
        if not target.name.lower().endswith(SUFFIXES):
            raise UsageError(
                "the papers of a search are not annotated, and cannot be saved like this",
                where=str(target),
                hint=f"They are saved as {', '.join(SUFFIXES)}; /annotate reads each of these.",
            )


def row_of(found: Found) -> dict[str, Any]:
    """Return a paper as a row of a table."""
    paper = found.paper
    return {
        paper.id_field: paper.id,
        "title": paper.title,
        "authors": paper.authors,
        "published": paper.published,
        "venue": found.venue,
        "categories": paper.categories,
        "doi": found.identifiers.get("doi", ""),
        "pmid": found.identifiers.get("pmid", ""),
        "cited": found.cited,
        "retracted": found.retracted,
        "source": found.source,
        "abstract": paper.abstract,
    }


def writers(found: Sequence[Found]) -> dict[str, Write]:
    """Return the writer of each suffix."""
    return {
        ".jsonl": partial(_write_jsonl, found),
        ".csv": partial(_write_csv, found),
        ".bib": partial(_write_references, "bibtex", found),
        ".ris": partial(_write_references, "ris", found),
        ".csl.json": partial(_write_csl, found),
    }


def _write_jsonl(found: Sequence[Found], file: IO[bytes]) -> None:
    for one in found:
        file.write(json.dumps(row_of(one), ensure_ascii=False).encode() + b"\n")


def _write_csv(found: Sequence[Found], file: IO[bytes]) -> None:
    """Write a table with one column of ids, whichever kind they are of."""
    rows = []
    for one in found:
        paper, row = one.paper, row_of(one)
        del row[paper.id_field]
        rows.append({"id": paper.id, **row})
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    text.flush()
    text.detach()


def _write_references(module: str, found: Sequence[Found], file: IO[bytes]) -> None:
    from importlib import import_module

    writer = import_module(f"skills.corpus.references.{module}")
    writer.write(((item, "") for item in _items(found)), file)


def _write_csl(found: Sequence[Found], file: IO[bytes]) -> None:
    from skills.corpus.references import csl_json

    for piece in csl_json.as_json(map(without_et_al, _items(found))):
        file.write(piece.encode())


def _items(found: Sequence[Found]) -> Iterator[Item]:
    return (item_of(one.paper, {}) for one in found)
