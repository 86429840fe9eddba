"""What the page holds of each paper: flat, without what can be counted in the browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skills.corpus.db.facets import categories
from skills.corpus.records import Annotated, Failure
from skills.nanda.arxiv_id import ID
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.named_entities import without_names
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten

LOW_SUPPORT = 0.6
"""Support below which a move is marked. Of the 7,218 stated moves of gold_train.csv, gold_dev.csv
and gold_train_cs.csv 21 are below it, 0.3%; 3 are below a half."""

_ARXIV_ID = re.compile(ID, re.IGNORECASE)
_SEPARATOR = "(?:,|\\{,\\}|[\u00a0\u2009\u202f'\u2019])?"
_BEFORE, _AFTER = r"(?<![\d.])(?<!\d[,'])(?<!\{,\})", rf"(?!\.?\d|{_SEPARATOR}\d{{3}}(?!\d))"
_OWN = ("attempts", "created", "input", "key", "prompt_sha256", "seconds", "tokens")
"""What differs from paper to paper in a provenance; the rest is shared by most."""


class Provenances:
    """The parts of provenances that many papers share, each kept once.

    Attributes:
        shared: them, in the order they came in; papers refer to them by index.
    """

    def __init__(self) -> None:
        self.shared: list[dict[str, Any]] = []
        self._index: dict[str, int] = {}

    def split(self, provenance: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """The index of what `provenance` shares with others, and what is its own."""
        shared = {key: value for key, value in provenance.items() if key not in _OWN}
        index = self._index.setdefault(sha256_of(shared), len(self.shared))
        if index == len(self.shared):
            self.shared.append(shared)
        return index, {key: provenance[key] for key in _OWN if key in provenance}


def paper_row(item: Annotated, framework: Framework, provenances: Provenances) -> dict[str, Any]:
    """A paper with its annotation.

    Returns: what a paper has (id, whether it is an arXiv id, title, authors, published, year,
        categories, the abstract's sentences) and, each a list in the framework's order:
        moves: the text, or None where it is not stated; where a number or name in it is
            unsupported, a list of texts of which every second one is such.
        support, copied: 0 to 1, or None.
        source: [index of the sentence, score], or None where the abstract has no such sentence.
        numbers, names: {index of the move: those that are unsupported}, moves with such alone.
        duplicates: [index, index, similarity] of moves that say the same.
        shared, own: the provenance, as `Provenances.split` has it.
    """
    paper, record = item.paper, item.record
    checks, names = record["checks"], framework.names
    stated = framework.stated({name: record[name] for name in names})
    sentences = [plain(sentence) for sentence in split_sentences(paper.abstract)]
    shared, own = provenances.split(record["provenance"])
    return {
        "id": plain(paper.id),
        "arxiv": paper.id_field == "arxiv_id" and bool(_ARXIV_ID.fullmatch(paper.id)),
        "title": plain(paper.title),
        "authors": plain(paper.authors),
        "published": plain(paper.published)[:10],
        "year": paper.year,
        "categories": categories(plain(paper.categories)),
        "sentences": sentences,
        "moves": [
            _marked(stated[name], checks, name) if name in stated else None for name in names
        ],
        "support": [checks["support"].get(name) for name in names],
        "copied": [checks["copied"].get(name) for name in names],
        "source": [_source(checks["source"].get(name), sentences) for name in names],
        "numbers": _by_index(checks["unsupported_numbers"], names),
        "names": _by_index(checks["unsupported_names"], names),
        "duplicates": [
            [names.index(a), names.index(b), s] for a, b, s in checks["duplicate_moves"]
        ],
        "shared": shared,
        "own": own,
    }


def failure_row(failure: Failure) -> dict[str, Any]:
    """A paper without an annotation; the raw reply keeps its line breaks."""
    paper = failure.paper
    return {
        "id": plain(paper.id),
        "arxiv": paper.id_field == "arxiv_id" and bool(_ARXIV_ID.fullmatch(paper.id)),
        "title": plain(paper.title),
        "error_type": plain(failure.error_type),
        "reason": plain(failure.reason),
        "retryable": failure.retryable,
        "raw_reply": failure.raw_reply,
    }


def plain(text: str) -> str:
    """`text` on one line, without what could hide or reorder parts of the page."""
    return flatten(text)


def _source(found: Mapping[str, Any] | None, sentences: Sequence[str]) -> list[float] | None:
    """Where the sentence stands in this abstract: checks kept from another version may miss it."""
    if not found:
        return None
    index, text = found["index"], plain(found["text"])
    if index < len(sentences) and sentences[index] == text:
        return [index, found["score"]]
    return [sentences.index(text), found["score"]] if text in sentences else None


def _marked(text: str, checks: Mapping[str, Any], move: str) -> str | list[str]:
    """The text of a move, in pieces where something in it is unsupported."""
    numbers = checks["unsupported_numbers"].get(move, ())
    names = checks["unsupported_names"].get(move, ())
    text, pieces, done = plain(text), list[str](), 0
    spans = {*_spans_of_numbers(text, numbers), *_spans_of_names(text, names)}
    for start, end in sorted(spans):
        if start >= done:
            pieces += [text[done:start], text[start:end]]
            done = end
    return [*pieces, text[done:]] if pieces else text


def _spans_of_numbers(text: str, numbers: Sequence[str]) -> Iterator[tuple[int, int]]:
    """`check` gives 12500 where the text has 12,500, and leaves the digits of names alone."""
    without = without_names(text)
    for number in numbers:
        digits = "".join(f"{c}{_SEPARATOR}" if c.isdigit() else re.escape(c) for c in number)
        pattern = f"{_BEFORE}(?:{digits.removesuffix(_SEPARATOR)}){_AFTER}"
        yield from (match.span() for match in re.finditer(pattern, without))


def _spans_of_names(text: str, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    for name in names:
        pattern = rf"(?<![^\W_]){re.escape(name)}(?![^\W_])"
        yield from (match.span() for match in re.finditer(pattern, text))


def _by_index(found: Mapping[str, Sequence[str]], names: Sequence[str]) -> dict[str, list[str]]:
    return {str(names.index(move)): list(texts) for move, texts in found.items()}
