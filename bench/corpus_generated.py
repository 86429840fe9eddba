"""Invent a corpus as a folder of Parquet parts (`corpus.py --papers`).

Parts have the schema, row groups and JSON objects of `save to FILE.parquet`. Numbers, keys and
digests of prompts are invented. The words of the texts are drawn as in corpus.py. A million
sentences are drawn in advance and shared by all moves, since joining words takes most of the time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skills.corpus.tables.parquet_files import ROW_GROUP, parquet_schema
from skills.nanda.framework import nanda

PART_ROWS = 100_000
ROW_BYTES = 2_500
"""An upper bound of the disk space of a row with its index, in bytes."""
MOST_BYTES = 20e9
BUCKETS = 1 << 20
SENTENCES = 1_000_000
YEARS = ("2021", "2022", "2023", "2024", "2024", "2025")


class Parts:
    """Generates parts of invented annotations; equal part numbers give equal parts.

    Args:
        words: the words, the most frequent first; the frequency follows Zipf's law.
        unstated: for some moves, the share of papers that do not state the move.
        categories: the categories, the most frequent first.
    """

    def __init__(
        self, words: Sequence[str], unstated: dict[str, float], categories: Sequence[str]
    ) -> None:
        self._unstated, self._categories = unstated, categories
        weights = 1 / (np.arange(len(words)) + 2)
        ends = np.cumsum(weights / weights.sum())
        drawn = np.searchsorted(ends, (np.arange(BUCKETS) + 0.5) / BUCKETS)
        self._drawn = np.minimum(drawn, len(words) - 1).astype(np.int32)
        self._sentences = self._invented(pa.array(words))

    def write(self, folder: Path, number: int, rows: int) -> None:
        """Write a part of `rows` annotations under a temporary name, then rename the file."""
        path = folder / f"part-{number:05}.parquet"
        schema = parquet_schema(nanda(), "arxiv_id")
        table = self._table(np.random.default_rng(number), number * PART_ROWS, rows)
        unfinished = path.with_name(f"_{path.name}")
        pq.write_table(table.cast(schema), unfinished, row_group_size=ROW_GROUP, compression="zstd")
        unfinished.rename(path)

    def _table(self, draw: np.random.Generator, first: int, rows: int) -> pa.Table:
        names = nanda().names
        sentences = {
            name: self._sentences.take(pa.array(draw.integers(0, SENTENCES, rows)))
            for name in names
        }
        stated = {
            name: pa.array(draw.random(rows) >= self._unstated.get(name, 0.01)) for name in names
        }
        years = draw.choice(YEARS, rows)
        months = [f"{month:02}" for month in draw.integers(1, 13, rows)]
        which = np.minimum(draw.exponential(2.0, rows).astype(int), len(self._categories) - 1)
        abstracts = pc.binary_join_element_wise(*sentences.values(), " ")
        supports = {
            name: pc.if_else(stated[name], pa.array(draw.integers(800, 1001, rows) / 1000), None)
            for name in names
        }
        ids = [
            f"{year[2:]}{month}.{first + i:05}"
            for i, (year, month) in enumerate(zip(years, months, strict=True))
        ]
        moves = {
            name: pc.if_else(stated[name], sentences[name], nanda().not_stated) for name in names
        }
        columns = {
            "arxiv_id": pa.array(ids),
            "title": pc.utf8_slice_codeunits(sentences["claim"], 0, 60),
            "authors": pa.array([""] * rows),
            "published": pa.array(
                [f"{year}-{month}-11" for year, month in zip(years, months, strict=True)]
            ),
            "categories": pa.array([f"{self._categories[i]}, stat.ML" for i in which]),
            "abstract": abstracts,
            **moves,
            "support": pa.StructArray.from_arrays(list(supports.values()), names=list(names)),
            "anchors": self._anchors(draw, rows, stated),
            "confidence": pa.array(["{}"] * rows),
            "checks": self._checks(draw, rows, stated, supports, sentences),
            "provenance": _provenances(draw, abstracts),
        }
        return pa.table(columns)

    def _invented(self, words: pa.Array) -> pa.Array:
        draw = np.random.default_rng(7)
        lengths = draw.integers(8, 36, SENTENCES)
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        drawn = words.take(pa.array(self._drawn[draw.integers(0, BUCKETS, ends[-1])]))
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(ends), drawn), " ")
        return _joined(pc.utf8_capitalize(joined), ".")

    def _anchors(
        self, draw: np.random.Generator, rows: int, stated: dict[str, pa.Array]
    ) -> pa.Array:
        numbers = pa.array(list(map(str, range(1, 10)))).take(pa.array(draw.integers(0, 9, rows)))
        entry = _joined('{"sentences":[', numbers, '],"spans":[[0,40]],"by":"lexical"}')
        return _object({name: pc.if_else(stated[name], entry, None) for name in stated})

    def _checks(
        self,
        draw: np.random.Generator,
        rows: int,
        stated: dict[str, pa.Array],
        supports: dict[str, pa.Array],
        sentences: dict[str, pa.Array],
    ) -> pa.Array:
        def some(share: float, text: str) -> pa.Array:
            found = {
                name: pc.if_else(
                    pc.and_(is_stated, pa.array(draw.random(rows) < share)), text, None
                )
                for name, is_stated in stated.items()
            }
            return _object(found)

        shares = {name: pc.cast(values, pa.string()) for name, values in supports.items()}
        sources = {
            name: pc.if_else(
                stated[name],
                _joined('{"index":0,"score":', shares[name], ',"text":"', sentences[name], '"}'),
                None,
            )
            for name in stated
        }
        return _joined(
            '{"unsupported_numbers":',
            some(0.01, '["7"]'),
            ',"unsupported_names":',
            some(0.02, '["XY"]'),
            ',"duplicate_moves":[],"support":',
            _object(shares),
            ',"copied":',
            _object(shares),
            ',"source":',
            _object(sources),
            "}",
        )


def _joined(*parts: pa.Array | str) -> pa.Array:
    """Concatenate columns and constants row by row; the result is null where a value is null."""
    return pc.binary_join_element_wise(*parts, "")


def _object(values: dict[str, pa.Array]) -> pa.Array:
    """Return a column of JSON objects, one per row, without the keys that have null values."""
    entries = [
        pc.coalesce(_joined(f',"{name}":', value), pa.scalar("")) for name, value in values.items()
    ]
    return _joined("{", pc.utf8_slice_codeunits(_joined(*entries), 1), "}")


def provenance(prompt: str, created: str, abstract: str) -> dict[str, Any]:
    """Return the provenance of an invented annotation, without its key.

    Args:
        prompt, abstract: the digests of the prompt and the abstract.
    """
    return {
        "requested": "nanda-annotator",
        "resolved": "nanda-annotator",
        "reason": None,
        "backend": "bench",
        "where": "nowhere",
        "digests": {"base": "0" * 64, "adapter": "1" * 64},
        "form": "tagged",
        "framework": nanda().identity,
        "prompt_sha256": prompt,
        "schema_sha256": "2" * 64,
        "sampling": {"temperature": 0.0, "seed": 0, "max_tokens": 900},
        "attempts": 1,
        "tokens": {"prompt": 300, "cached": 60, "completion": 260},
        "seconds": 1.5,
        "harness": "0",
        "created": created,
        "input": {"kind": "table", "path": "papers.parquet", "sha256": abstract},
    }


def _provenances(draw: np.random.Generator, abstracts: pa.Array) -> pa.Array:
    made = provenance("PROMPT", "CREATED", "ABSTRACT")
    text = json.dumps({**made, "key": "n1:KEY"})
    rows = len(abstracts)
    seconds = draw.integers(0, 86_400, rows)
    values = {
        "PROMPT": _digests(draw, rows),
        "CREATED": [
            f"2026-01-{s % 28 + 1:02}T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}+00:00"
            for s in seconds
        ],
        "ABSTRACT": [hashlib.sha256(one.encode()).hexdigest() for one in abstracts.to_pylist()],
        "KEY": _digests(draw, rows),
    }
    parts: list[pa.Array | str] = []
    for name, column in values.items():
        before, _, text = text.partition(name)
        parts += [before, pa.array(column)]
    return _joined(*parts, text)


def _digests(draw: np.random.Generator, rows: int) -> list[str]:
    drawn = draw.bytes(32 * rows).hex()
    return [drawn[begin : begin + 64] for begin in range(0, len(drawn), 64)]


def generate(folder: Path, papers: int, parts: Parts) -> None:
    """Write the parts that the folder lacks.

    Raises:
        SystemExit: the parts need more space than is free, or more than `MOST_BYTES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    due = [
        number
        for number in range(-(-papers // PART_ROWS))
        if not (folder / f"part-{number:05}.parquet").exists()
    ]
    needed = len(due) * PART_ROWS * ROW_BYTES
    if papers * ROW_BYTES > MOST_BYTES or needed > shutil.disk_usage(folder).free:
        raise SystemExit(f"{papers:,} papers need up to {papers * ROW_BYTES / 1e9:,.0f} GB")
    started = time.perf_counter()
    for done, number in enumerate(due, start=1):
        parts.write(folder, number, min(PART_ROWS, papers - number * PART_ROWS))
        print(f"\r{done} of {len(due)} parts", end="", file=sys.stderr, flush=True)
    if due:
        print(file=sys.stderr)
        print(f"generated {len(due)} parts in {time.perf_counter() - started:.0f} s")
