"""The data of the corpus page: one JSON object per paper, in the form that its script shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skills.corpus.annotated import Annotated
from skills.corpus.facets import categories
from skills.nanda.arxiv_id import ID
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.names import without_names
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences
from skills.nanda.wording import flatten

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


def paper_row(item: Annotated, framework: Framework, provenances: Provenances) -> dict[str, Any]:
    """Return a paper with its annotation.

    Returns: id, arxiv (True for an arXiv id), title, authors, published, year, categories, the
        sentences of the abstract, model, mean (support, or None), the provenance as in
        `Provenances.split`, and lists in the framework's order:
        moves: the text, or None if not stated; a text with unsupported numbers or names is a list
            of pieces, every second one unsupported.
        support, copied: 0 to 1, or None.
        source: [index of the nearest sentence, score], or None.
        findings: a list of [kind, short text, long text].
    """
    paper, checks, names = item.paper, item.record["checks"], framework.names
    stated = framework.stated({name: item.record[name] for name in names})
    sentences = [flatten(sentence) for sentence in split_sentences(paper.abstract)]
    shared, own = provenances.split(item.record["provenance"])
    support = [checks["support"].get(name) for name in names]
    known = [one for one in support if one is not None]
    labels = {move.name: move.label for move in framework.moves}
    return {
        "id": flatten(paper.id),
        "arxiv": is_arxiv(paper),
        "title": flatten(paper.title),
        "authors": flatten(paper.authors),
        "published": flatten(paper.published)[:10],
        "year": paper.year,
        "categories": categories(flatten(paper.categories)),
        "sentences": sentences,
        "model": item.record["provenance"]["resolved"],
        "moves": [
            _marked(stated[name], checks, name) if name in stated else None for name in names
        ],
        "support": support,
        "mean": round(sum(known) / len(known), 4) if known else None,
        "copied": [checks["copied"].get(name) for name in names],
        "source": [_source(checks["source"].get(name), sentences) for name in names],
        "findings": [list(_findings(checks, name, labels)) for name in names],
        "shared": shared,
        "own": own,
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
) -> Iterator[tuple[str, str, str]]:
    for kind in ("numbers", "names"):
        if texts := checks[f"unsupported_{kind}"].get(move):
            short = flatten(", ".join(texts))
            yield kind, short, f"{FINDINGS[kind]}: {short}"
    support = checks["support"].get(move)
    if support is not None and support < LOW_SUPPORT:
        long = f"Low support: {support:.0%} of its content words are in the abstract"
        yield "support", f"support {support:.0%}", long
    pairs = [pair[:2] for pair in checks["duplicate_moves"] if move in pair[:2]]
    if pairs:
        others = ", ".join(labels[b if a == move else a] for a, b in pairs)
        yield "duplicates", f"as {others}", f"Repeats {others}"


def _source(found: Mapping[str, Any] | None, sentences: Sequence[str]) -> list[float] | None:
    """Return index and score of the sentence, if stored checks still fit this abstract."""
    if not found:
        return None
    index, text = found["index"], flatten(found["text"])
    if index < len(sentences) and sentences[index] == text:
        return [index, found["score"]]
    return [sentences.index(text), found["score"]] if text in sentences else None


def _marked(text: str, checks: Mapping[str, Any], move: str) -> str | list[str]:
    numbers = checks["unsupported_numbers"].get(move, ())
    names = checks["unsupported_names"].get(move, ())
    text, pieces, done = flatten(text), list[str](), 0
    spans = {*_spans_of_numbers(text, numbers), *_spans_of_names(text, names)}
    for start, end in sorted(spans):
        if start >= done:
            pieces += [text[done:start], text[start:end]]
            done = end
    return [*pieces, text[done:]] if pieces else text


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
