"""Folders of Parquet parts with invented annotations, for the tests of the corpus."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from corpus_papers import annotated, paper

from skills.corpus.records import Annotated, Failure, key_of
from skills.corpus.tables.parquet_files import parquet_row, parquet_schema, write_parquet
from skills.nanda.framework import Framework, nanda
from skills.nanda.text import set_of

_WORDS = set_of(
    "ledger plan fault oracle retrieval dense baseline parser tree agent memory token planner"
    " search graph review claim index model corpus tests testing tested state"
)


def invented(count: int) -> list[Annotated]:
    """Return annotated papers that differ in their words, years, categories and stated moves."""
    draw = random.Random(5)
    items = []
    for number in range(1, count + 1):
        words = [
            " ".join(draw.choices(sorted(_WORDS), k=draw.randint(4, 20))) for _ in nanda().names
        ]
        moves = {
            name: "Not stated." if draw.random() < 0.3 else f"{text.capitalize()}."
            for name, text in zip(nanda().names, words, strict=True)
        }
        if number % 17 == 0:
            moves["claim"] = f"GPT-{number} reads {number * 3} plans of Zürich."
        published = draw.choice(("2021-03-01", "2022", "2023-12-24", "2024-05-17", ""))
        categories = draw.choice(("cs.CL, cs.IR", "cs.SE", "Cs.CL", "", "math.CO; stat.ML"))
        abstract = f"{'. '.join(text.capitalize() for text in words[:4])}.\nPaper {number}."
        of = paper(number, abstract, published=published, categories=categories)
        items.append(annotated(of, draw.choice(("annotator", "other")), **moves))
    return items


def made_at(item: Annotated, created: str) -> Annotated:
    """Return an annotation as made at another time."""
    made = {**item.record["provenance"], "created": created}
    return Annotated(item.paper, {**item.record, "provenance": made})


def write_part(
    path: Path,
    items: Iterable[Annotated],
    framework: Framework | None = None,
    *,
    sections: bool = False,
) -> None:
    """Write a part as `save to FILE.parquet` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        framework = framework or nanda()
        schema = parquet_schema(framework, "arxiv_id", sections=sections)
        write_parquet(file, items, framework, schema)


def write_cluster_part(path: Path, rows: Sequence[Annotated | Failure]) -> None:
    """Write a part as a cluster does: with columns for keys and errors, and rows of failures."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = parquet_schema(nanda(), "arxiv_id")
    for name in ("paper_key", "key", "error"):
        schema = schema.append(pa.field(name, pa.string(), nullable=False))
    pq.write_table(pa.Table.from_pylist([_row(row) for row in rows], schema=schema), path)


def _row(row: Annotated | Failure) -> dict[str, Any]:
    error = ""
    if isinstance(row, Failure):
        names = ("error_type", "reason", "retryable", "raw_reply")
        error = json.dumps({name: getattr(row, name) for name in names})
        nothing = {**dict.fromkeys(nanda().names, ""), "checks": {"support": {}}}
        row = Annotated(row.paper, nothing)
    made = row.record.get("provenance")
    key = key_of(made) if made else "k"
    return {
        **parquet_row(row, nanda(), "arxiv_id"),
        "paper_key": "0" * 32,
        "key": key,
        "error": error,
    }
