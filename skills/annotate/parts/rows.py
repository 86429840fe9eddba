"""The rows of a part: those that `save to FILE.parquet` writes, and two columns more.

    paper_key   identifies the paper: 32 hex digits of the SHA-256 of its id and abstract
    error       "" for an annotation; for a failure, which has no moves, JSON with the content key
                of the request, error_type, reason, retryable and raw_reply

The metadata of the file state the job: `PartsJob.identity` as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from skills.corpus.records import Annotated, Failure
from skills.corpus.tables.columns import ERROR
from skills.corpus.tables.parquet.files import SUFFIX
from skills.corpus.tables.writers import parquet_row, parquet_schema
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

PAPER_KEY = "paper_key"
ADDED = (PAPER_KEY, ERROR)
JOB = b"job"
"""The name of the job's identity in the metadata of a part."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A paper whose annotation failed, and the content key of the request."""

    failure: Failure
    key: str

    @property
    def paper(self) -> Paper:
        return self.failure.paper


def paper_key(paper: Paper) -> bytes:
    """Return what identifies a paper of a job: 16 bytes of a digest of its id and abstract."""
    text = f"{paper.id_field}\n{paper.id}\n{paper.sha256}"
    return hashlib.sha256(text.encode()).digest()[:16]


def part_name(run: str, papers: Iterable[Paper]) -> str:
    """Return the name of the part with these papers, in any order."""
    keys = b"".join(sorted(map(paper_key, papers)))
    return f"part-{run}-{hashlib.sha256(keys).hexdigest()[:16]}{SUFFIX}"


def part_schema(framework: Framework, id_column: str, job: Mapping[str, Any]) -> pa.Schema:
    """Return the schema of the parts of a job.

    Raises:
        UsageError: the framework has a move of the name of a column of parts.
    """
    import pyarrow as pa

    if taken := [name for name in ADDED if name in framework.names]:
        raise UsageError(
            f"the framework {framework.name} has a move {taken[0]!r}, which is a column of parts",
            hint="Rename the move.",
        )
    base = parquet_schema(framework, id_column)
    fields = [*base, *(pa.field(name, pa.string(), nullable=False) for name in ADDED)]
    return pa.schema(fields, {**base.metadata, JOB: json.dumps(job, sort_keys=True)})


def encode(rows: Iterable[Annotated | Failed], framework: Framework, schema: pa.Schema) -> bytes:
    """Return the content of a part."""
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    values = [_values(row, framework, schema.names[0]) for row in rows]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(values, schema=schema), sink, compression="zstd")
    return bytes(sink.getvalue())


def _values(row: Annotated | Failed, framework: Framework, id_name: str) -> dict[str, Any]:
    key, error = paper_key(row.paper).hex(), ""
    if isinstance(row, Failed):
        about = {k: v for k, v in asdict(row.failure).items() if k != "paper"}
        error = json.dumps({"key": row.key, **about})
        nothing = {**dict.fromkeys(framework.names, ""), "checks": {"support": {}}}
        row = Annotated(row.paper, nothing)
    return {**parquet_row(row, framework, id_name), PAPER_KEY: key, ERROR: error}
