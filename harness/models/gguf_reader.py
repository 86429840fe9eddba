"""Read GGUF files faster than `gguf.GGUFReader`, and with a check of every length.

`GGUFReader` takes seconds, since it creates a NumPy array for every token and every merge rule of
the vocabulary. It returns incomplete values at the end of a truncated file. It has no limits, so
that a sparse file may fill the memory. Import this module only to read a file, since it imports
NumPy.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFValueType

LONGEST = 64 << 20
"""Maximum size in bytes of the metadata; a vocabulary of 262,144 tokens takes 15 MB."""
MOST = 1 << 16
"""Maximum number of keys, and maximum number of tensors."""


def read_checked(path: Path) -> CheckedReader:
    """Return a reader of a GGUF file; the tensors are mapped, and not read into memory.

    Raises:
        ValueError, IndexError, KeyError, ArithmeticError: the file is not a GGUF, or is truncated,
            or its counts, lengths or offsets are invalid.
        OSError: the file cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    with np.errstate(over="raise"):
        reader = CheckedReader(path)
    if sum(int(tensor.n_bytes) for tensor in reader.tensors) > len(reader.data):
        raise ValueError("its tensors are larger than the file")
    return reader


class CheckedReader(GGUFReader):
    """A reader that checks every length, and returns the arrays of the metadata as lists."""

    _limit = LONGEST

    def _check(self, end: int) -> None:
        if end > len(self.data):
            raise ValueError("the file is truncated")
        if end > self._limit:
            raise ValueError(f"its metadata is longer than {LONGEST >> 20} MB")

    def _get(self, offset: int, dtype: Any, count: int = 1, *rest: Any, **named: Any) -> Any:
        self._check(offset + np.dtype(dtype).itemsize * int(count))
        return super()._get(offset, dtype, count, *rest, **named)

    def _build_fields(self, offs: int, count: int) -> int:
        return int(super()._build_fields(offs, _few(count, "keys")))

    def _build_tensor_info(self, offs: int, count: int) -> Any:
        return super()._build_tensor_info(offs, _few(count, "tensors"))

    def _build_tensors(self, start_offs: int, fields: Any) -> None:
        self._limit = len(self.data)
        super()._build_tensors(start_offs, fields)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        if raw_type != GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        inner, count = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
        kind, start = GGUFValueType(inner[0]), orig_offs + 12
        elements: list[Any]
        if kind == GGUFValueType.ARRAY:
            raise ValueError("it has an array of arrays")
        if kind == GGUFValueType.STRING:
            elements, end = self._strings(start, int(count[0]))
        else:
            found = self._get(start, self.gguf_scalar_to_np[kind], count[0])
            elements, end = found.tolist(), start + found.nbytes
        return end - orig_offs, [inner, count, elements], [2], [GGUFValueType.ARRAY, kind]

    def _strings(self, at: int, count: int) -> tuple[list[str], int]:
        """Return `count` strings that begin at offset `at`, and the offset after the last string.

        Each string is preceded by its length in 8 bytes.
        """
        self._check(at + 8 * count)
        data, end = self.data.data, min(len(self.data), self._limit)
        found = []
        for _ in range(count):
            start = at + 8
            at = start + int.from_bytes(data[at:start], "little")
            if at > end:
                self._check(at)
            found.append(bytes(data[start:at]).decode("utf-8", "replace"))
        return found, at


def _few(count: int, what: str) -> int:
    if count > MOST:
        raise ValueError(f"it has {count:,} {what}, and at most {MOST:,} are read")
    return count
