"""Compute and store vectors of moves, with the static embeddings of wordllama.

The vector of a text is the mean of the vectors of its tokens, scaled to length 1. The weights and
the tokenizer are read directly from the files of the installed package. Importing wordllama would
take a second and change the logging of the whole process, and its loader downloads the tokenizer.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
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
"""Number of characters to which a text is cut before embedding; moves have a few hundred."""

Vectors = NDArray[np.float32]
BATCH = 4_000
"""Maximum number of moves whose vectors are stored in one transaction."""
BLOCK = 8_192
"""Maximum number of vectors in a row of `vector_blocks`."""
Ids = NDArray[np.int64]
Signs = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Embedder:
    """A loaded embedding model.

    Attributes:
        weights: the vector of each token; shape (vocabulary, `DIMENSIONS`).
        digest: SHA-256 of the weights and the tokenizer.
        megabytes: the size of the weights and the tokenizer in megabytes.
    """

    weights: NDArray[np.float16]
    tokenizer: Tokenizer
    digest: str
    megabytes: float

    @staticmethod
    @functools.cache
    def load() -> Embedder:
        """Load the model of the installed package, or return the model that is already loaded.

        Raises:
            UsageError: the package is not installed.
        """
        require("wordllama", "tokenizers", "safetensors", extra="meaning")
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

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a vector of length 1 for each text; a text without tokens has a vector of zeros.

        Returns:
            An array of shape (len(texts), `DIMENSIONS`).
        """
        cut = [text[:MOST_CHARACTERS] for text in texts]
        encoded = self.tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        sums = np.zeros((len(cut), DIMENSIONS), dtype=np.float32)
        for row, found in enumerate(encoded):
            if found.ids:
                sums[row] = self.weights[found.ids].sum(axis=0, dtype=np.float32)
        return normalized(sums)


def normalized(vectors: Vectors) -> Vectors:
    """Return vectors with each row scaled to length 1; rows of zeros are not changed."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    made: Vectors = vectors / lengths
    return made


def complete(
    db: sqlite3.Connection,
    embedder: Embedder,
    tick: Callable[[str], None] = lambda status: None,
    check: Callable[[], None] = lambda: None,
) -> int:
    """Compute and store the missing vectors of stated moves, and return their number.

    The vectors of another model are deleted first. Each batch is a transaction, so that an
    interruption loses only the current batch.

    Args:
        tick: called with the progress, as text.
        check: called before each batch; may raise an error to stop.
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
            if _complete_to(db, embedder) != begin:  # another process has added these vectors
                continue
            _add(db, rows, vectors)
            at = rows[-1]["id"] if len(rows) == BATCH else end
            update(db, "embedding", 1, last_move=at)
        added += len(rows)
    return added


def blocks_of(
    db: sqlite3.Connection, framework: Framework, names: Sequence[str]
) -> Iterator[tuple[Ids, Signs]]:
    """Yield the ids and the sign bits of all moves with these names, block by block.

    The moves may belong to current or earlier annotations.
    """
    marks = ", ".join("?" * len(names))
    rows = db.execute(
        f"SELECT move_ids, signs FROM vector_blocks WHERE framework = ? AND move IN ({marks})",  # noqa: S608  only "?"
        [framework.name, *names],
    )
    for row in rows:
        ids = np.frombuffer(row["move_ids"], dtype=np.int64)
        yield ids, np.frombuffer(row["signs"], dtype=np.uint64).reshape(len(ids), -1)


def signs(vectors: Vectors) -> Signs:
    """Return the sign bits of vectors, in an array of shape (len(vectors), `DIMENSIONS` / 64)."""
    return np.packbits(vectors > 0, axis=1).view(np.uint64)


def unpacked(stored: Iterable[bytes]) -> Vectors:
    """Return stored vectors as the rows of an array, each scaled to length 1."""
    whole = np.frombuffer(b"".join(stored), dtype=np.int8).reshape(-1, DIMENSIONS)
    return normalized(whole.astype(np.float32))


def _complete_to(db: sqlite3.Connection, embedder: Embedder) -> int:
    """Return the id of the move up to which the vectors of all stated moves are stored, or 0.

    Stored vectors of another model than `embedder` are deleted first.
    """
    row = one(db, "SELECT digest, last_move FROM embedding", [])
    if row is not None and row["digest"] == embedder.digest:
        return int(row["last_move"])
    with transaction(db):
        for table in ("embedding", "vectors", "vector_blocks"):
            db.execute(f"DELETE FROM {table}")  # noqa: S608  constants
        insert(db, "embedding", id=1, model=NAME, digest=embedder.digest, last_move=0)
    return 0


def _add(db: sqlite3.Connection, rows: Sequence[Row], vectors: Vectors) -> None:
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    packed = np.rint(vectors * (127 / np.where(largest == 0, 1, largest))).astype(np.int8)
    stored = (one.tobytes() for one in packed)
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
    """Append moves to the block that is not full, if there is such a block, and to new blocks.

    Args:
        ids: the ids of the moves.
        coarse: the sign bits of the vectors of the moves.
    """
    last = one(
        db,
        "SELECT * FROM vector_blocks WHERE framework = ? AND move = ? AND size < ?",
        [framework, move, BLOCK],
    )
    if last is not None:
        db.execute("DELETE FROM vector_blocks WHERE id = ?", [last["id"]])
        before = np.frombuffer(last["signs"], np.uint64).reshape(last["size"], -1)
        ids = np.concatenate((np.frombuffer(last["move_ids"], np.int64), ids))
        coarse = np.concatenate((before, coarse))
    for begin in range(0, len(ids), BLOCK):
        block = ids[begin : begin + BLOCK]
        insert(
            db,
            "vector_blocks",
            framework=framework,
            move=move,
            size=len(block),
            move_ids=block.tobytes(),
            signs=coarse[begin : begin + BLOCK].tobytes(),
        )
