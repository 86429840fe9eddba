"""What the corpus page shows of each paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skills.corpus.db.facets import categories
from skills.corpus.records import Annotated
from skills.nanda.arxiv_id import ID
from skills.nanda.framework import Framework, Move, sha256_of
from skills.nanda.named_entities import without_names
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences
from skills.nanda.text import flatten
from skills.reporting.page import percent

LOW_SUPPORT = 0.6
"""Support below this is a finding. It is so for 0.3% of the 7,218 stated moves of gold_train.csv,
gold_dev.csv and gold_train_cs.csv."""
FINDINGS = {
    "numbers": "Numbers not in the abstract",
    "names": "Names not in the abstract",
    "support": f"Support below {LOW_SUPPORT:.0%}",
    "duplicates": "Moves that repeat each other",
}

_ARXIV_ID = re.compile(ID, re.IGNORECASE)
_SEPARATOR = "(?:,|\\{,\\}|[\u00a0\u2009\u202f'\u2019])?"
_BEFORE, _AFTER = r"(?<![\d.])(?<!\d[,'])(?<!\{,\})", rf"(?!\.?\d|{_SEPARATOR}\d{{3}}(?!\d))"
_OWN = ("attempts", "created", "input", "key", "prompt_sha256", "seconds", "tokens")
"""The fields of a provenance that differ from paper to paper."""


class Provenances:
    """The parts of provenances that papers share, each kept once.

    Attributes:
        shared: these parts as facts; papers refer to them by index.
    """

    def __init__(self) -> None:
        self.shared: list[list[tuple[str, str]]] = []
        self._index: dict[str, int] = {}

    def split(self, provenance: Mapping[str, Any]) -> tuple[int, list[tuple[str, str]]]:
        """Return the index of the shared part of `provenance`, and the rest of it as facts."""
        shared = {key: value for key, value in provenance.items() if key not in _OWN}
        index = self._index.setdefault(sha256_of(shared), len(self.shared))
        if index == len(self.shared):
            self.shared.append(list(facts(shared)))
        return index, list(facts({key: provenance[key] for key in _OWN if key in provenance}))


def paper_view(item: Annotated, framework: Framework, provenances: Provenances) -> dict[str, Any]:
    """Return what the template shows of a paper: paper, arxiv, sentences, entries, and more.

    An entry of a move is in the form of `entries` in skills/reporting/templates/macros.html.
    """
    paper, checks = item.paper, item.record["checks"]
    stated = framework.stated({name: item.record[name] for name in framework.names})
    sentences = [flatten(sentence) for sentence in split_sentences(paper.abstract)]
    shared, own = provenances.split(item.record["provenance"])
    labels = {move.name: move.label for move in framework.moves}
    support = [checks["support"][name] for name in stated if name in checks["support"]]
    return {
        "paper": paper,
        "arxiv": is_arxiv(paper),
        "categories": categories(flatten(paper.categories)) or ["unknown"],
        "model": item.record["provenance"]["resolved"],
        "support": sum(support) / len(support) if support else None,
        "sentences": sentences,
        "entries": [
            _entry(move, stated.get(move.name), checks, sentences, labels)
            for move in framework.moves
        ],
        "shared": shared,
        "own": own,
    }


def _entry(
    move: Move,
    text: str | None,
    checks: Mapping[str, Any],
    sentences: Sequence[str],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    if text is None:
        return {"move": move, "pieces": None}
    name = move.name
    source = _source(checks["source"].get(name), sentences)
    nearest = "its source sentence is not in this abstract"
    if source:
        nearest = f"nearest is sentence {source[0] + 1} ({source[1]:.0%} of its words, in order)"
    support, copied = (percent(checks[kind].get(name)) for kind in ("support", "copied"))
    return {
        "move": move,
        "pieces": _pieces(text, checks, name),
        "source": source[0] if source else -1,
        "flags": list(_findings(checks, name, labels)),
        "checks": f"{support} of its content words are in the abstract · {copied} copied word "
        f"for word · {nearest}.",
    }


def facts(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and values as text; a nested name follows those that it is nested in."""
    for key, value in given.items():
        name = f"{prefix}{flatten(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from facts(value, f"{name}, ")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(flatten(str(one)) for one in value)
        elif value is not None and value != "":
            grouped = type(value) is int and key != "seed"
            yield name, f"{value:,}" if grouped else flatten(str(value))


def is_arxiv(paper: Paper) -> bool:
    """Return True if the id of a paper is an arXiv id, and can be a link."""
    return paper.id_field == "arxiv_id" and bool(_ARXIV_ID.fullmatch(paper.id))


def _findings(
    checks: Mapping[str, Any], move: str, labels: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield each kind of finding about a move with its text."""
    for kind in ("numbers", "names"):
        if texts := checks[f"unsupported_{kind}"].get(move):
            yield FINDINGS[kind], f"{', '.join(texts)}: not in the abstract"
    support = checks["support"].get(move)
    if support is not None and support < LOW_SUPPORT:
        yield FINDINGS["support"], f"Support {support:.0%}"
    pairs = [pair[:2] for pair in checks["duplicate_moves"] if move in pair[:2]]
    if pairs:
        others = ", ".join(labels[b if a == move else a] for a, b in pairs)
        yield FINDINGS["duplicates"], f"Repeats {others}"


def _source(found: Mapping[str, Any] | None, sentences: Sequence[str]) -> tuple[int, float] | None:
    """Return index and score of the sentence, if stored checks still fit this abstract."""
    if not found:
        return None
    index, text = found["index"], flatten(found["text"])
    if index < len(sentences) and sentences[index] == text:
        return index, found["score"]
    return (sentences.index(text), found["score"]) if text in sentences else None


def _pieces(text: str, checks: Mapping[str, Any], move: str) -> list[str]:
    """Split the text of a move so that every second piece is unsupported."""
    numbers = checks["unsupported_numbers"].get(move, ())
    names = checks["unsupported_names"].get(move, ())
    text, pieces, done = flatten(text), list[str](), 0
    spans = {*_spans_of_numbers(text, numbers), *_spans_of_names(text, names)}
    for start, end in sorted(spans):
        if start >= done:
            pieces += [text[done:start], text[start:end]]
            done = end
    return [*pieces, text[done:]]


def _spans_of_numbers(text: str, numbers: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the places of numbers as `check` writes them: 12500 for 12,500; digits of names
    are not numbers."""
    without = without_names(text)
    for number in numbers:
        digits = "".join(f"{c}{_SEPARATOR}" if c.isdigit() else re.escape(c) for c in number)
        pattern = f"{_BEFORE}(?:{digits.removesuffix(_SEPARATOR)}){_AFTER}"
        yield from (match.span() for match in re.finditer(pattern, without))


def _spans_of_names(text: str, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    for name in names:
        pattern = rf"(?<![^\W_]){re.escape(name)}(?![^\W_])"
        yield from (match.span() for match in re.finditer(pattern, text))
