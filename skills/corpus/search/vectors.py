"""Compute vectors of texts with the static vectors of wordllama.

The vector of a text is the mean of the vectors of its tokens. Weights and tokenizer are read from
the files of the wheel: importing wordllama takes a second and configures the log of the whole
process, and its loader searches the tokenizer in the network.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.support.process import require
from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import Row, insert, one, update
from skills.nanda.framework import Framework

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "wordllama l2_supercat"
DIMENSIONS = 256
WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
MOST_CHARACTERS = 8_000
"""Maximum number of characters of a text that are read; a move has a few hundred."""

Vectors = NDArray[np.float32]
BATCH = 4_000
"""Number of moves whose vectors are computed and written together."""
BLOCK = 8_192
"""Number of vectors in a full block."""
Ids = NDArray[np.int64]
Signs = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Embedder:
    """A loaded model that computes vectors.

    Attributes:
        digest: the digest of the weights and the tokenizer.
        megabytes: the size of weights and tokenizer.
    """

    weights: NDArray[np.float16]
    tokenizer: Tokenizer
    digest: str
    megabytes: float

    @classmethod
    def load(cls) -> Embedder:
        """Return the model of the installed wheel, which is loaded once.

        Raises:
            UsageError: the wheel is not installed.
        """
        require("wordllama", "tokenizers", "safetensors", extra="meaning")
        return _loaded()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a vector of length 1 for each text; zeros for a text without tokens."""
        cut = [text[:MOST_CHARACTERS] for text in texts]
        encoded = self.tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        sums = np.zeros((len(cut), DIMENSIONS), dtype=np.float32)
        for row, found in enumerate(encoded):
            if found.ids:
                sums[row] = self.weights[found.ids].sum(axis=0, dtype=np.float32)
        return normalized(sums)


def normalized(vectors: Vectors) -> Vectors:
    """Return vectors scaled to length 1; zeros remain zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    made: Vectors = vectors / lengths
    return made


@functools.cache
def _loaded() -> Embedder:
    from safetensors.numpy import load
    from tokenizers import Tokenizer

    found = importlib.util.find_spec("wordllama")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    weights, tokenizer = ((folder / name).read_bytes() for name in (WEIGHTS, TOKENIZER))
    return Embedder(
        load(weights)["embedding.weight"],
        Tokenizer.from_buffer(tokenizer),
        hashlib.sha256(weights + tokenizer).hexdigest(),
        (len(weights) + len(tokenizer)) / 1e6,
    )


def complete(
    db: sqlite3.Connection,
    embedder: Embedder,
    tick: Callable[[str], None] = lambda status: None,
    check: Callable[[], None] = lambda: None,
) -> int:
    """Add missing vectors, and return their number.

    Vectors that were written before an interruption remain. Vectors of another model are replaced.

    Args:
        tick: called with the progress.
        check: called between batches; raises an error to stop.
    """
    last = one(db, "SELECT max(id) AS id FROM moves", [])
    end = (last and last["id"]) or 0
    added, first = 0, None
    while (begin := _complete_to(db, embedder)) < end:
        check()
        first = begin if first is None else first
        tick(f"{(begin - first) / (end - first):.0%} of the moves")
        rows = db.execute(
            "SELECT id, framework, move, text FROM moves WHERE id > ? AND id <= ?"
            " AND stated = 1 ORDER BY id LIMIT ?",
            [begin, end, BATCH],
        ).fetchall()
        vectors = embedder.embed([row["text"] for row in rows])
        with transaction(db):
            if _complete_to(db, embedder) != begin:  # another process has added vectors
                continue
            _add(db, rows, vectors)
            at = rows[-1]["id"] if len(rows) == BATCH else end
            update(db, "embedding", 1, last_move=at)
        added += len(rows)
    return added


def blocks_of(
    db: sqlite3.Connection, framework: Framework, names: Sequence[str]
) -> Iterator[tuple[Ids, Signs]]:
    """Yield ids and signs of all moves with these names, current or not, in blocks."""
    marks = ", ".join("?" * len(names))
    rows = db.execute(
        f"SELECT move_ids, signs FROM vector_blocks WHERE framework = ? AND move IN ({marks})",  # noqa: S608  only "?"
        [framework.name, *names],
    )
    for row in rows:
        ids = np.frombuffer(row["move_ids"], dtype=np.int64)
        yield ids, np.frombuffer(row["signs"], dtype=np.uint64).reshape(len(ids), -1)


def signs(vectors: Vectors) -> Signs:
    """Return the signs of vectors, one bit for each dimension."""
    return np.packbits(vectors > 0, axis=1).view(np.uint64)


def unpacked(stored: Iterable[bytes]) -> Vectors:
    """Return stored vectors, scaled to length 1."""
    whole = np.frombuffer(b"".join(stored), dtype=np.int8).reshape(-1, DIMENSIONS)
    return normalized(whole.astype(np.float32))


def _packed(vectors: Vectors) -> NDArray[np.int8]:
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.rint(vectors * (127 / np.where(largest == 0, 1, largest))).astype(np.int8)


def _complete_to(db: sqlite3.Connection, embedder: Embedder) -> int:
    """Return the id of the last move with a vector of this model, or 0."""
    row = one(db, "SELECT digest, last_move FROM embedding", [])
    if row is not None and row["digest"] == embedder.digest:
        return int(row["last_move"])
    with transaction(db):
        for table in ("embedding", "vectors", "vector_blocks"):
            db.execute(f"DELETE FROM {table}")  # noqa: S608  constants
        insert(db, "embedding", id=1, model=NAME, digest=embedder.digest, last_move=0)
    return 0


def _add(db: sqlite3.Connection, rows: Sequence[Row], vectors: Vectors) -> None:
    stored = (one.tobytes() for one in _packed(vectors))
    db.executemany(
        "INSERT INTO vectors (move_id, vector) VALUES (?, ?)",
        zip((row["id"] for row in rows), stored, strict=True),
    )
    coarse = signs(vectors)
    by_name: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows):
        by_name.setdefault((row["framework"], row["move"]), []).append(place)
    for (framework, move), places in by_name.items():
        added = np.array([rows[place]["id"] for place in places], dtype=np.int64)
        _extend_blocks(db, framework, move, added, coarse[places])


def _extend_blocks(
    db: sqlite3.Connection, framework: str, move: str, ids: Ids, coarse: Signs
) -> None:
    """Fill the last block of a move, and add further blocks."""
    last = one(
        db,
        "SELECT * FROM vector_blocks WHERE framework = ? AND move = ? AND size < ?",
        [framework, move, BLOCK],
    )
    whole_ids, whole_signs = ids.tobytes(), coarse.tobytes()
    if last is not None:
        db.execute("DELETE FROM vector_blocks WHERE id = ?", [last["id"]])
        whole_ids, whole_signs = last["move_ids"] + whole_ids, last["signs"] + whole_signs
    for size, part_ids, part_signs in _blocks(whole_ids, whole_signs):
        insert(
            db,
            "vector_blocks",
            framework=framework,
            move=move,
            size=size,
            move_ids=part_ids,
            signs=part_signs,
        )


def _blocks(ids: bytes, coarse: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield size, ids and signs of new blocks."""
    id_bytes, sign_bytes = 8, DIMENSIONS // 8
    for begin in itertools.count(0, BLOCK):
        part = ids[begin * id_bytes : (begin + BLOCK) * id_bytes]
        if not part:
            return
        size = len(part) // id_bytes
        yield size, part, coarse[begin * sign_bytes : (begin + size) * sign_bytes]
