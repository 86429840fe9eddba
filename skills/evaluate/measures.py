"""Compute the measures of an annotation by metric and move, and store the measures.

A measure depends only on abstracts, moves and anchors. It is therefore computed once, and later
evaluations of the same annotations read the measure from the corpus.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from skills.corpus.db.connection import transaction
from skills.corpus.db.rows import one, stored_json
from skills.nanda import checks
from skills.nanda.anchors import read_anchors
from skills.nanda.framework import sha256_of
from skills.nanda.unsupported import unsupported_names, unsupported_numbers

T = TypeVar("T")
ByMove = dict[str, float]
"""A measure of each move, by the name of the move."""


class Placed(TypedDict):
    """The sentences of an abstract that a move comes from, numbered from 1.

    Attributes:
        sentences: the numbers of the sentences of the anchor; [] if the anchor is unknown.
        nearest: the number of the sentence with the highest ROUGE-L recall of the move, among
            `sentences` or, if `sentences` is empty, among all sentences of the abstract.
    """

    sentences: list[int]
    nearest: int


class Measures:
    """Compute measures, and store them in a corpus.

    Args:
        db: the corpus; None to store nothing.
    """

    def __init__(self, db: sqlite3.Connection | None = None) -> None:
        self._db = db
        self._new: dict[str, str] = {}

    def get(self, compute: Callable[..., T], *given: Any) -> T:
        """Return the result of `compute(*given)`, which is read from the corpus if stored there.

        Arguments and result are JSON values.
        """
        key = sha256_of([compute.__name__, given])
        text = self._new.get(key)
        if text is None and self._db is not None:
            sql = "SELECT measured FROM measures WHERE key = ? AND code = ?"
            row = one(self._db, sql, [key, _code()])
            text = row["measured"] if row else None
        if text is None:
            text = self._new[key] = json.dumps(compute(*given))
        found: T = stored_json(text)
        return found

    def save(self) -> None:
        """Store the new measures, and delete the measures of other versions of the code."""
        if self._db is None or not self._new:
            return
        with transaction(self._db):
            self._db.execute("DELETE FROM measures WHERE code != ?", [_code()])
            self._db.executemany(
                "INSERT OR IGNORE INTO measures (key, code, measured) VALUES (?, ?, ?)",
                [(key, _code(), text) for key, text in self._new.items()],
            )


def of_annotation(
    abstract: str, elsewhere: str | None, moves: Mapping[str, str]
) -> dict[str, ByMove]:
    """Return the measures of an annotation that need no gold, by metric.

    Args:
        elsewhere: the abstract of another paper, for the measure "floor" (support by chance); None
            to omit this measure.
        moves: the stated moves of the annotation.
    """
    found: dict[str, ByMove] = {
        "numbers": {m: not unsupported_numbers(abstract, t) for m, t in moves.items()},
        "names": {m: not unsupported_names(abstract, t) for m, t in moves.items()},
        "support": {m: checks.support(abstract, t) for m, t in moves.items()},
        "copied": {m: checks.copied(abstract, t) for m, t in moves.items()},
        "overlap": {},
    }
    if len(moves) > 1:  # the highest similarity of each move to any other move
        for m, text in moves.items():
            others = (other for name, other in moves.items() if name != m)
            found["overlap"][m] = max(rouge_l(text, other) for other in others)
    if elsewhere is not None:
        found["floor"] = {m: checks.support(elsewhere, t) for m, t in moves.items()}
    return found


def of_agreement(moves: Mapping[str, str], gold: Mapping[str, str]) -> dict[str, ByMove]:
    """Return the similarities of the moves that both annotations state, by metric.

    Args:
        moves, gold: the stated moves of the two annotations.
    """
    both = [move for move in moves if move in gold]
    return {
        metric: {move: alike(moves[move], gold[move]) for move in both}
        for metric, alike in (("rouge_l", rouge_l), ("chrf", chrf))
    }


def of_repetition(moves: Mapping[str, str], other: Mapping[str, str]) -> ByMove:
    """Return the similarity of each move that two annotations of a paper both state.

    Args:
        moves, other: the stated moves of the two annotations.
    """
    return {m: rouge_l(moves[m], other[m]) for m in moves if m in other}


def of_anchors(
    abstract: str, moves: Mapping[str, str], stored: Mapping[str, Any] | None
) -> dict[str, Placed]:
    """Return the sentences that each move comes from, by move.

    The sentences of a move are the sentences of its stored anchor or, without a stored anchor, of
    the anchor that lexical alignment finds.

    Args:
        moves: the stated moves of an annotation.
        stored: the stored anchors by move, or None.
    """
    found: dict[str, Placed] = {}
    for move, anchor in read_anchors(abstract, moves, stored).items():
        sentences = anchor["sentences"]
        source = checks.source_sentence(abstract, moves[move], sentences)
        found[move] = {"sentences": sentences, "nearest": source["index"] + 1}
    return found


@functools.cache
def _code() -> str:
    """Return the digest of the code that computes measures, and of `versions()`.

    Measures that are stored with another digest are not used.
    """
    digest = hashlib.sha256(repr(versions()).encode())
    here = Path(__file__).parent
    for folder in (here, Path(checks.__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.lru_cache(maxsize=65_536)
def rouge_l(text: str, gold: str) -> float:
    """Return the ROUGE-L F1 (Lin 2004) of two texts, from 0 to 1, with Porter's stemmer."""
    return float(_rouge().score(gold, text)["rougeL"].fmeasure)


def chrf(text: str, gold: str) -> float:
    """Return the chrF2 (Popović 2015) of two texts, from 0 to 1: n-grams of 1 to 6 characters."""
    return float(_chrf().sentence_score(text, [gold]).score) / 100


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute ROUGE-L and chrF."""
    return {name: importlib.metadata.version(name) for name in ("rouge-score", "sacrebleu")}


@functools.cache
def _rouge() -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
