"""A folder of Parquet files with annotations ("parts"), at a path or a URL of fsspec.

    part-20261127T154400-1b2c-0f3a....parquet   a part, named after its run and its papers
    _run                                        a file with the name of the run that may write parts
    _broken-part-...                            an incomplete part that was set aside

A part is written under a temporary name and then renamed, so that an interrupted run leaves no
incomplete part. If a failure of the storage leaves an incomplete part, the next run renames the
part. Readers of Parquet ignore names that begin with "_". The rows have the columns of a .parquet
file that /annotate saves, and two more columns:

    paper_key   identifies the paper: 32 hex digits of the SHA-256 of its id and abstract
    error       "" for an annotation; for a failure, JSON with key (`Failed.key`), error_type,
                reason, retryable and raw_reply

The moves in the row of a failure are "".
The metadata of a part contain the identity of its job (`PartsJob.identity`) as JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import OutputError, UsageError
from skills.corpus.records import Annotated, Failure
from skills.corpus.tables.columns import ERROR
from skills.corpus.tables.parquet_files import SUFFIX, is_part, parquet_row, parquet_schema
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa  # type: ignore[import-untyped]

RUN, TEMPORARY, BROKEN = "_run", ".tmp", "_broken-"
LEAST_FREE = 100_000_000
"""Number of bytes that must be free in a local folder before work begins.

This space is enough for about 30,000 papers.
"""
PAPER_KEY = "paper_key"
ADDED = (PAPER_KEY, ERROR)
JOB = b"job"
"""The name of the job's identity in the metadata of a part."""
THREADS = 16
"""Number of parts that are read at the same time. Threads mostly wait for the file system."""
KEY_BYTES = 16
"""Number of bytes of a paper's key."""


def folder_url(target: Path) -> str:
    """Return the absolute path or the URL of a target.

    `Path` has shortened the "//" of a URL to "/"; the result has "//" again.
    """
    scheme, colon, rest = str(target).partition(":/")
    is_url = colon and len(scheme) > 1 and scheme.isalnum()
    return f"{scheme}://{rest.lstrip('/')}" if is_url else str(target.expanduser().resolve())


def new_run() -> str:
    """Return the name of a new run: the time, by which runs are sorted, and random digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True, slots=True)
class PartsFolder:
    """A folder of parts at a path or URL.

    The object holds no open files, so that it can be sent to nodes.
    """

    url: str

    def create(self) -> None:
        """Create the folder if it is missing.

        Raises:
            UsageError: the file system of the URL is unknown, or its package is missing.
            OutputError: the path is a file, or the folder cannot be created.
        """
        with self._place("cannot be created") as (fs, root):
            if fs.isfile(root):
                raise OutputError("is a file", where=self.url, hint="Name a folder for the parts.")
            fs.makedirs(root, exist_ok=True)

    def take_over(self, run: str) -> None:
        """Allow only `run` to write parts, and remove files that other runs have begun."""
        with self._place("cannot be written") as (fs, root):
            fs.pipe_file(f"{root}/{RUN}", run.encode())
            for name in _names(fs, root):
                if name.startswith("_") and name.endswith(TEMPORARY):
                    with contextlib.suppress(FileNotFoundError):
                        fs.rm_file(f"{root}/{name}")

    def names(self) -> list[str]:
        """Return the names of the parts, sorted."""
        with self._place("cannot be read") as (fs, root):
            return [name for name in _names(fs, root) if is_part(name)]

    def open(self, name: str) -> Any:
        """Open a file of the folder for reading bytes, and return the file object of fsspec."""
        fs, root = self._file_system()
        return fs.open(f"{root}/{name}", "rb")

    def write(self, name: str, content: bytes, run: str) -> None:
        """Write a file atomically.

        Raises:
            OutputError: the file cannot be written, or another run has taken the folder over.
        """
        with self._place("cannot be written") as (fs, root):
            temporary = f"{root}/_{name}.{secrets.token_hex(4)}{TEMPORARY}"
            fs.pipe_file(temporary, content)
            owner = fs.cat_file(f"{root}/{RUN}") if fs.exists(f"{root}/{RUN}") else b""
            if owner != run.encode():
                fs.rm_file(temporary)
                raise OutputError(
                    "another run writes into this folder now",
                    where=self.url,
                    hint="Wait until the other run ends, or stop it; written parts are kept.",
                )
            fs.mv(temporary, f"{root}/{name}")

    def set_aside(self, name: str) -> None:
        """Rename an incomplete part, so that readers ignore it."""
        with self._place("cannot be written") as (fs, root):
            fs.mv(f"{root}/{name}", f"{root}/{BROKEN}{name}")

    @contextlib.contextmanager
    def marked(self, run: str) -> Iterator[None]:
        """Keep a file in the folder during a `with` block.

        A node that shares the folder finds the file (see `problem`).
        """
        with self._place("cannot be written") as (fs, root):
            fs.pipe_file(f"{root}/_{run}{TEMPORARY}", b"")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # `take_over` of another run may have removed it
                fs.rm_file(f"{root}/_{run}{TEMPORARY}")

    def problem(self, run: str) -> str:
        """Return why this node cannot write parts of `run` to the folder; "" if the node can."""
        try:
            fs, root = self._file_system()
            if not fs.exists(f"{root}/_{run}{TEMPORARY}"):
                return f"does not share the folder {self.url}"
            probe = f"{root}/_probe-{secrets.token_hex(4)}{TEMPORARY}"
            fs.pipe_file(probe, b"")
            fs.rm_file(probe)
            is_local = "file" in ([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)
            free = shutil.disk_usage(root).free if is_local else LEAST_FREE
        except (OSError, ImportError, ValueError) as exc:
            return f"cannot write into {self.url}: {exc}"
        if free < LEAST_FREE:
            return f"has {free / 1e6:.0f} MB free for {self.url}; {LEAST_FREE / 1e6:.0f} are needed"
        return ""

    def _file_system(self) -> tuple[Any, str]:
        """Return the file system of fsspec, and the path of the folder in it."""
        from fsspec.core import url_to_fs

        fs, root = url_to_fs(self.url)
        return fs, root.rstrip("/")

    @contextlib.contextmanager
    def _place(self, what: str) -> Iterator[tuple[Any, str]]:
        """Yield the result of `_file_system`, and convert the errors of a block.

        Args:
            what: a predicate for messages, such as "cannot be read".
        """
        try:
            yield self._file_system()
        except (ImportError, ValueError) as exc:  # a URL scheme that no installed package handles
            raise UsageError(str(exc).rstrip("."), where=self.url) from exc
        except OSError as exc:
            raise OutputError(f"{what}: {exc.strerror or exc}", where=self.url) from exc


def _names(fs: Any, root: str) -> list[str]:
    """Return the names of all files in a folder, sorted."""
    fs.invalidate_cache()
    return sorted(path.rpartition("/")[2] for path in fs.ls(root, detail=False))


@dataclass(frozen=True, slots=True)
class Failed:
    """A paper whose annotation failed, with the key of the failure (`job.Task.key`)."""

    failure: Failure
    key: str

    @property
    def paper(self) -> Paper:
        return self.failure.paper


def paper_key(paper: Paper) -> bytes:
    """Return the key of a paper in a job: 16 bytes of the digest of its id and abstract."""
    text = f"{paper.id_field}\n{paper.id}\n{paper.sha256}"
    return hashlib.sha256(text.encode()).digest()[:KEY_BYTES]


def part_name(run: str, papers: Iterable[Paper]) -> str:
    """Return the name of a part of `run`, which does not depend on the order of `papers`."""
    keys = b"".join(sorted(map(paper_key, papers)))
    return f"part-{run}-{hashlib.sha256(keys).hexdigest()[:16]}{SUFFIX}"


def part_schema(framework: Framework, id_column: str, job: Mapping[str, Any]) -> pa.Schema:
    """Return the schema of the parts of a job.

    Raises:
        UsageError: a move of the framework has the name of a column in `ADDED`.
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
    """Return the bytes of a Parquet file with these rows: the content of a part."""
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


class Keys:
    """A compact set of paper keys with 16 bytes each: 160 MB for ten million papers."""

    def __init__(self, keys: bytes = b"") -> None:
        import numpy as np

        self._sorted: np.ndarray[Any, Any] = np.unique(np.frombuffer(keys, f"S{KEY_BYTES}"))

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, key: bytes) -> bool:
        key = key.rstrip(b"\0")  # numpy returns and compares keys without trailing zeros
        place = self._sorted.searchsorted(key)
        return bool(place < len(self._sorted) and self._sorted[place] == key)


@dataclass(frozen=True, slots=True)
class Scan:
    """The result of `scan`: the keys of the papers in a folder, and the incomplete parts.

    Attributes:
        done, failed: keys of annotated papers, and of failed papers; a paper that was annotated
            after a failure is in both.
        broken: the names of incomplete parts, which have been set aside.
    """

    done: Keys
    failed: Keys
    broken: Sequence[str]

    def is_due(self, key: bytes, *, retry_failed: bool) -> bool:
        """Return True if a run has to annotate this paper."""
        return key not in self.done and (key in self.failed) == retry_failed


def scan(folder: PartsFolder, job: Mapping[str, Any]) -> Scan:
    """Return the keys in all complete parts, and set incomplete parts aside.

    Raises:
        UsageError: a part belongs to another job, or a .parquet file is not a part.
        OutputError: the folder cannot be read, or a part cannot be renamed.
    """
    done, failed, broken = bytearray(), bytearray(), list[str]()
    names = folder.names()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="scan") as pool:
        for name, keys in zip(names, pool.map(partial(part_keys, folder, job), names), strict=True):
            if keys is None:
                broken.append(name)
            else:
                done += keys[0]
                failed += keys[1]
    for name in broken:
        folder.set_aside(name)
    return Scan(Keys(bytes(done)), Keys(bytes(failed)), broken)


def check_first(folder: PartsFolder, job: Mapping[str, Any]) -> None:
    """Check that the first part of a folder belongs to the job.

    A run calls this function before it changes files in the folder.

    Raises:
        UsageError: the part belongs to another job, or the file is not a part.
    """
    for name in folder.names()[:1]:
        part_keys(folder, job, name)


def part_keys(folder: PartsFolder, job: Mapping[str, Any], name: str) -> tuple[bytes, bytes] | None:
    """Return the keys of annotated papers and the keys of failed papers in a part.

    The keys have `KEY_BYTES` bytes each, and follow each other without separators. The result is
    None if the part is incomplete or missing.

    Raises:
        UsageError: the part belongs to another job, or the file is not a part.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with folder.open(name) as stream, pq.ParquetFile(stream) as file:
            _check_job(f"{folder.url}/{name}", (file.metadata.metadata or {}).get(JOB), job)
            columns = file.read([PAPER_KEY, ERROR], use_threads=False).to_pydict()
    except (pa.ArrowException, OSError):
        return None
    done, failed = bytearray(), bytearray()
    for key, error in zip(columns[PAPER_KEY], columns[ERROR], strict=True):
        (failed if error else done).extend(bytes.fromhex(key))
    return bytes(done), bytes(failed)


def _check_job(where: str, found: bytes | None, job: Mapping[str, Any]) -> None:
    hint = "Save to another folder, or repeat the line that wrote the parts of this folder."
    if found is None:
        raise UsageError("is not a part of an annotation job", where=where, hint=hint)
    its = json.loads(found)
    if its.get("key") != job["key"]:
        different = next((k for k in job if k != "key" and its.get(k) != job[k]), "")
        what = f"{different} {_shown(its.get(different))} instead of {_shown(job.get(different))}"
        raise UsageError(
            f"belongs to another job, with {what if different else 'another prompt'}",
            where=where,
            hint=hint,
        )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
