"""What the parts in a folder hold: the papers that are done, and those that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from skills.annotate.parts.folder import PartsFolder
from skills.annotate.parts.rows import JOB, PAPER_KEY
from skills.corpus.tables.columns import ERROR

if TYPE_CHECKING:
    import numpy as np

THREADS = 16
"""Parts read at once: most of the time is waiting for the file system."""
KEY_BYTES = 16


class Keys:
    """A set of paper keys in 16 bytes each: 160 MB for ten million papers."""

    def __init__(self, keys: bytes = b"") -> None:
        import numpy as np

        self._sorted: np.ndarray[Any, Any] = np.unique(np.frombuffer(keys, f"S{KEY_BYTES}"))

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, key: bytes) -> bool:
        key = key.rstrip(b"\0")  # as numpy returns and compares them
        place = self._sorted.searchsorted(key)
        return bool(place < len(self._sorted) and self._sorted[place] == key)


@dataclass(frozen=True, slots=True)
class Scan:
    """The whole parts in a folder.

    Attributes:
        done, failed: keys of papers; one that failed at first and was done later is in both.
        broken: the names of parts that were not whole, and have been set aside.
    """

    done: Keys
    failed: Keys
    parts: int
    broken: Sequence[str]

    def is_due(self, key: bytes, *, retry_failed: bool) -> bool:
        """Return True if a run has to annotate this paper."""
        return key not in self.done and (key in self.failed) == retry_failed


def scan(folder: PartsFolder, job: Mapping[str, Any]) -> Scan:
    """Read the keys of all parts, and set aside those that are not whole.

    Raises:
        UsageError: a part belongs to another job, or the file is not a part.
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
    return Scan(Keys(bytes(done)), Keys(bytes(failed)), len(names) - len(broken), broken)


def check_first(folder: PartsFolder, job: Mapping[str, Any]) -> None:
    """Refuse the folder of another job by its first part, before anything in it is changed.

    Raises:
        UsageError: the part belongs to another job.
    """
    for name in folder.names()[:1]:
        part_keys(folder, job, name)


def part_keys(folder: PartsFolder, job: Mapping[str, Any], name: str) -> tuple[bytes, bytes] | None:
    """Return the keys of the papers of a part that are done and that failed, None if it is broken.

    Raises:
        UsageError: see `scan`.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

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
    hint = "Save to another folder, or repeat the line that wrote these parts."
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
