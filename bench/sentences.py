"""Compare sentence splitters on abstracts whose sentences are known.

    pip install pysbd syntok sentencex blingfire sentence-splitter spacy
    python bench/sentences.py [LABELLED.jsonl] [--disagreements TABLE.csv]

LABELLED is a file for `/evaluate --csabstruct`, by default the file in ../shared. The sentences of
each abstract are joined with blanks and split again: once unchanged ("raw"), and once without the
blanks that the tokenizer of the data set put before punctuation and within numbers ("joined"). A
boundary is identified by the number of non-blank characters before it; the end of the abstract is
not a boundary.

Prints for each installed splitter the F1, precision and recall of boundaries with 95% intervals by
a bootstrap over abstracts, and the CPU time relative to our splitter. With --disagreements, prints
the boundaries in the abstracts of TABLE on which our splitter and another splitter disagree.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from skills.nanda.sentences import split_sentences  # noqa: E402
from skills.reporting.intervals import percentile_interval  # noqa: E402
from skills.reporting.statistics import bootstrap_weights  # noqa: E402

LABELLED = ROOT.parent / "shared" / "data" / "csabstruct_dev.jsonl"
RESAMPLES = 10_000
CONTEXT = 50
"""Number of characters shown on each side of a boundary."""

Splitter = Callable[[str], Iterable[str]]


def pysbd() -> Splitter:
    split: Splitter = importlib.import_module("pysbd").Segmenter("en", clean=False).segment
    return split


def sentencex() -> Splitter:
    module = importlib.import_module("sentencex")
    return lambda text: module.segment("en", text)


def syntok() -> Splitter:
    module = importlib.import_module("syntok.segmenter")
    return lambda text: [
        "".join(token.spacing + token.value for token in sentence)
        for paragraph in module.analyze(text)
        for sentence in paragraph
    ]


def blingfire() -> Splitter:
    module = importlib.import_module("blingfire")
    return lambda text: module.text_to_sentences(text).split("\n")


def sentence_splitter() -> Splitter:
    split: Splitter = importlib.import_module("sentence_splitter").SentenceSplitter("en").split
    return split


def spacy() -> Splitter:
    pipeline = importlib.import_module("spacy").blank("en")
    pipeline.add_pipe("sentencizer")
    return lambda text: [sentence.text for sentence in pipeline(text).sents]


OURS = "ours"
OTHERS = (sentencex, sentence_splitter, pysbd, blingfire, syntok, spacy)


def installed() -> dict[str, Splitter]:
    """Return our splitter and the splitters of installed libraries, by name."""
    splitters: dict[str, Splitter] = {OURS: split_sentences}
    for make in OTHERS:
        try:
            splitters[make.__name__] = make()
        except ImportError as error:
            print(f"left out: {error}", file=sys.stderr)
    return splitters


def boundaries(sentences: Iterable[str]) -> set[int]:
    """Return the boundaries between sentences, as numbers of non-blank characters before them."""
    lengths = np.cumsum([len("".join(sentence.split())) for sentence in sentences])
    return set(map(int, lengths)) - {0, int(lengths[-1])}


def joined(text: str) -> str:
    """Return `text` without the blanks of a tokenizer: "(80,000)." for "( 80, 000 ) ."."""
    text = re.sub(r" (?=[.,;:!?)\]](?:\s|$))", "", text)
    return re.sub(r"(?<=\d,) (?=\d{3}\b)", "", re.sub(r"(?<=[(\[]) ", "", text))


def counts(
    split: Splitter, texts: Sequence[str], given: Sequence[set[int]]
) -> tuple[np.ndarray[Any, Any], float]:
    """Return each text's numbers of found, known and common boundaries, and the CPU seconds."""
    start = time.process_time()
    results = [list(split(text)) for text in texts]
    seconds = time.process_time() - start
    found = [boundaries(result) for result in results]
    rows = [
        (len(one), len(other), len(one & other)) for one, other in zip(found, given, strict=True)
    ]
    return np.array(rows, dtype=float), seconds


def scores(sums: np.ndarray[Any, Any]) -> Mapping[str, np.ndarray[Any, Any]]:
    """Return F1, precision and recall as arrays by name.

    Args:
        sums: an array (n, 3) of numbers of found, known and common boundaries.
    """
    found, given, both = sums.T
    return {"F1": 2 * both / (found + given), "precision": both / found, "recall": both / given}


def read(path: Path) -> list[list[str]]:
    """Return the sentences of each abstract of a file."""
    return [json.loads(line)["sentences"] for line in path.read_text("utf-8").splitlines()]


def compare(abstracts: Sequence[Sequence[str]], splitters: Mapping[str, Splitter]) -> None:
    """Print the figures of each splitter on the raw and the joined text."""
    given = [boundaries(sentences) for sentences in abstracts]
    weights = bootstrap_weights(len(abstracts), RESAMPLES, 0)
    raw = [" ".join(sentences) for sentences in abstracts]
    print(f"{len(raw)} abstracts, {sum(map(len, given)):,} boundaries")
    for name, texts in (("raw", raw), ("joined", list(map(joined, raw)))):
        ours = 0.0
        for splitter, split in splitters.items():
            split(texts[0])  # the first call may load a model
            rows, seconds = counts(split, texts, given)
            ours = ours or seconds
            whole, drawn = scores(rows.sum(axis=0, keepdims=True)), scores(weights @ rows)
            figures = []
            for figure, value in whole.items():
                low, high, why = percentile_interval(drawn[figure])
                figures.append(f"{figure} {value[0]:.4f} ({why or f'{low:.4f} to {high:.4f}'})")
            print(f"{name:7}{splitter:18}{'  '.join(figures)}  time {seconds / ours:.1f}")


def disagree(path: Path, splitters: Mapping[str, Splitter]) -> None:
    """Print the boundaries in a table on which our splitter and another splitter disagree."""
    totals: Counter[str] = Counter()
    with path.open(encoding="utf-8", newline="") as file:
        texts = [row["abstract"] for row in csv.DictReader(file)]
    for number, text in enumerate(texts, start=1):
        places = [place for place, character in enumerate(text) if not character.isspace()]
        found = {name: boundaries(split(text)) for name, split in splitters.items()}
        ours = found.pop(OURS)
        for end in sorted(set().union(*found.values()) | ours):
            others = [name for name, ends in found.items() if (end in ends) != (end in ours)]
            if not others:
                continue
            who = f"{'not ' if end in ours else ''}{', '.join(others)}"
            place = places[end - 1] + 1
            before, after = text[max(0, place - CONTEXT) : place], text[place : place + CONTEXT]
            print(f"{number}\t{who}\t{before!r} | {after!r}")
            totals.update(f"{'ours' if end in ours else 'other'} alone, {name}" for name in others)
    for name, total in sorted(totals.items()):
        print(f"{name}: {total}")


def main() -> None:
    parser = argparse.ArgumentParser(description="compare splitters of sentences")
    parser.add_argument("labelled", type=Path, nargs="?", default=LABELLED)
    parser.add_argument("--disagreements", type=Path, metavar="TABLE.csv")
    arguments = parser.parse_args()
    splitters = installed()
    if arguments.disagreements:
        disagree(arguments.disagreements, splitters)
    else:
        compare(read(arguments.labelled), splitters)


if __name__ == "__main__":
    main()
