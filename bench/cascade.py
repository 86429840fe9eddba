"""Measure the quality of a cascade of annotators, and its lower bound.

    python bench/cascade.py [--table TABLE] [--papers 250] [--splits 200] [--budget .2]

In a cascade, a better annotator annotates the papers for which the certainty of a small annotator
is lowest. Here the small annotator is the reader, on the first papers of gold_train, which were
held out from its training. The gold annotations take the place of the better annotator.

The first table has the share of right anchors (as in /evaluate, by paper) for several measures of a
paper's certainty. The second table is about lower bounds of this share, each computed from a random
sample of the papers. It shows how often a bound holds for all papers, the mean distance of the
bounds below the share, and the distance of Hoeffding's bound for samples of the same size.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from skills.annotate.cascade import RISK, lower_bound  # noqa: E402
from skills.corpus.table import TableRow  # noqa: E402
from skills.nanda.anchors import lexical_anchors, read_anchors  # noqa: E402
from skills.nanda.framework import Framework, nanda  # noqa: E402
from skills.nanda.passages import numbered  # noqa: E402
from skills.reader import encoder  # noqa: E402
from skills.reader.choice import choose  # noqa: E402
from tools.gold import rows_of  # noqa: E402

READER = ROOT / "models" / "nanda-annotator" / "reader.onnx"
DATA = ROOT.parent / "shared" / "data"
SIZES = (25, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class Annotated:
    """The annotation of a paper by the small annotator.

    Attributes:
        right: the share of right anchors among the moves that both the annotator and the gold
            state; 0 if there is no such move.
        confidence: the confidence by move.
        stated: the moves that the annotator states.
    """

    right: float
    confidence: Mapping[str, float]
    stated: frozenset[str]


MEASURES: Mapping[str, Callable[[Annotated], float]] = {
    "mean over all moves": lambda one: fmean(one.confidence.values()),
    "mean over stated moves": lambda one: fmean(_of_stated(one)),
    "minimum over all moves": lambda one: min(one.confidence.values()),
    "minimum over stated moves": lambda one: min(_of_stated(one)),
    "product over all moves": lambda one: math.prod(one.confidence.values()),
    "chance": lambda one: random.Random(repr(sorted(one.confidence.items()))).random(),
}


def _of_stated(one: Annotated) -> list[float]:
    return [one.confidence[name] for name in one.stated] or [0.0]


def annotated(reader: encoder.Encoder, row: TableRow, framework: Framework) -> Annotated:
    """Annotate a paper with the reader, and compare the anchors with the anchors of the gold."""
    abstract = row.paper.abstract
    sentences = numbered(abstract)
    scores = reader.read([one.text for one in sentences], row.paper.title)
    quotes = choose(scores, reader.fitted, reader.moves, abstract, sentences, framework.longest)
    stated = {name: one.anchor() for name, one in quotes.items() if one.text}
    texts = {name: quotes[name].text or "" for name in stated}
    chosen = read_anchors(abstract, texts, stated)
    gold = lexical_anchors(abstract, framework.stated(row.valid_moves(framework)))
    right = [
        not {*one["sentences"]}.isdisjoint(gold[name]["sentences"])
        for name, one in chosen.items()
        if name in gold and gold[name]["sentences"]
    ]
    confidence = {name: one.confidence for name, one in quotes.items()}
    return Annotated(fmean(right) if right else 0.0, confidence, frozenset(stated))


def after(
    papers: Sequence[Annotated], certainty: Callable[[Annotated], float], budget: float
) -> list[float]:
    """Return the share of right anchors of each paper after a cascade with the gold.

    The gold annotates the least certain papers, so that their share is 1.0.

    Args:
        budget: the share of the papers that the gold annotates.
    """
    ordered = sorted(range(len(papers)), key=lambda place: certainty(papers[place]))
    passed = {*ordered[: int(budget * len(papers) + 1e-9)]}
    return [1.0 if place in passed else one.right for place, one in enumerate(papers)]


def coverage(shares: Sequence[float], size: int, splits: int) -> tuple[float, float, float]:
    """Measure how often the bound of a random sample holds for all papers, and its tightness.

    Args:
        shares: the share of right anchors of each paper.
        size: number of papers of a sample.
        splits: number of random samples.

    Returns:
        The share of the samples with a bound that holds, the mean distance of the bounds below the
            mean of `shares`, and the distance of Hoeffding's bound.
    """
    draws, truth = random.Random(size), fmean(shares)
    samples = [draws.sample(shares, size) for _ in range(splits)]
    bounds = [lower_bound(sample, len(shares)) for sample in samples]
    held = fmean(bound <= truth for bound in bounds)
    return held, truth - fmean(bounds), math.sqrt(math.log(1 / RISK) / (2 * size))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", type=Path, default=DATA / "gold_train.csv")
    parser.add_argument(
        "--papers", type=int, default=250, help="number of papers, from the first row"
    )
    parser.add_argument("--reader", type=Path, default=READER)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--budget", type=float, default=0.2)
    options = vars(parser.parse_args(argv))
    rows = rows_of(options["table"], nanda())[: options["papers"]]
    reader = encoder.load(options["reader"])
    papers = [annotated(reader, row, nanda()) for row in rows]
    budget, splits = options["budget"], options["splits"]
    print(
        f"{len(papers)} papers, right anchors of the reader: {fmean(p.right for p in papers):.3f}"
    )
    print(f"\n{'right anchors after the gold annotated':<45}{'10%':>8}{'20%':>8}{'50%':>8}")
    for name, measure in MEASURES.items():
        found = [fmean(after(papers, measure, share)) for share in (0.1, 0.2, 0.5)]
        print(f"{name:<45}{''.join(f'{one:>8.3f}' for one in found)}")
    shares = after(papers, MEASURES["mean over all moves"], budget)
    right = f"after the gold annotated {budget:.0%}: right anchors {fmean(shares):.3f}"
    print(f"\n{right}; bounds of {splits} random samples:")
    print(f"{'sample':>8}{'holds':>8}{'below the share':>17}{'Hoeffding':>11}")
    for size in (size for size in SIZES if size < len(papers)):
        held, distance, hoeffding = coverage(shares, size, splits)
        print(f"{size:>8}{held:>8.1%}{distance:>17.3f}{hoeffding:>11.3f}")


if __name__ == "__main__":
    main()
