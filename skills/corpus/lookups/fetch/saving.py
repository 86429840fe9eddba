"""Save the papers of a search as a table or as references, which /annotate reads."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from harness.api.skill import Write
from harness.errors import UsageError
from skills.corpus.records import Found
from skills.corpus.tables.references.item import Item, item_of, without_et_al

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
        ".bib": partial(_write_references, "bibtex_writer", found),
        ".ris": partial(_write_references, "ris_writer", found),
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

    writer = import_module(f"skills.corpus.tables.references.{module}")
    writer.write(((item, "") for item in _items(found)), file)


def _write_csl(found: Sequence[Found], file: IO[bytes]) -> None:
    from skills.corpus.tables.references import csl_json

    for piece in csl_json.as_json(map(without_et_al, _items(found))):
        file.write(piece.encode())


def _items(found: Sequence[Found]) -> Iterator[Item]:
    return (item_of(one.paper, {}) for one in found)
