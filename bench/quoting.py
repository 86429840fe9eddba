"""Measure how drafts, the sentence selector and both together find and quote sentences.

    python bench/quoting.py GOLD.csv EVALUATION.json

EVALUATION.json is saved by `/evaluate GOLD.csv --models MODEL`; the drafts are the moves of its
first model. A sentence n is chosen by the highest log q(n) + WEIGHT r(n), where q is the selector's
probability and r the ROUGE-L recall of the draft in the sentence. Printed for each WEIGHT: the
share of the gold's stated moves whose nearest sentence is chosen, and the macro ROUGE-L of the
moves that both state, as the whole sentence and as the passage of it that is most similar to the
draft. The figure of the best of several weights is optimistic.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from skills.annotate.selector import selector
from skills.evaluate.metrics.similarity import rouge_l
from skills.nanda.anchors.lexical import recall, sentences_of
from skills.nanda.framework import nanda
from skills.nanda.quoting.alignment import align
from skills.nanda.quoting.numbered import numbered
from skills.nanda.quoting.wording import text_of

WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, math.inf)
NANDA = nanda()
LIMIT = NANDA.max_chars - 1


class Case:
    """A move that the gold states: its draft, or "", and the candidates."""

    def __init__(self, move: str, gold: str, draft: str, abstract: str) -> None:
        self.move, self.gold, self.draft = move, gold, draft
        self.sentences = numbered(abstract)
        likely = selector.probabilities(self.sentences)
        self.likely = likely[move][1:]
        given = sentences_of(abstract)
        self.recalls = [recall(draft, one) for one in given]
        of_gold = [recall(gold, one) for one in given]
        self.nearest = max(range(len(given)), key=of_gold.__getitem__)

    def chosen(self, weight: float) -> int:
        if math.isinf(weight):
            return max(range(len(self.recalls)), key=self.recalls.__getitem__)
        scores = [
            math.log(max(q, 1e-9)) + weight * r
            for q, r in zip(self.likely, self.recalls, strict=True)
        ]
        return max(range(len(scores)), key=scores.__getitem__)


def whole(case: Case, weight: float) -> str:
    return case.sentences[case.chosen(weight)].text[:LIMIT]


def passage(case: Case, weight: float) -> str:
    sentence = case.sentences[case.chosen(weight)]
    aligned = align(case.draft, [sentence.phrases], LIMIT)
    if aligned is None:
        return whole(case, weight)
    return text_of([sentence.quoted(aligned.passages[0])])


def macro(cases: list[Case], text: Callable[[Case], str]) -> float:
    """Return the mean over the moves of the mean ROUGE-L of their cases."""
    by_move: dict[str, list[float]] = {}
    for case in cases:
        by_move.setdefault(case.move, []).append(rouge_l(text(case), case.gold))
    return mean(mean(values) for values in by_move.values())


def read(table: Path, evaluation: Path) -> list[Case]:
    found = json.loads(evaluation.read_text(encoding="utf-8"))
    drafts: list[Mapping[str, str] | None] = [
        one["moves"] for one in found["annotators"][0]["by_paper"]
    ]
    cases = []
    with table.open(newline="", encoding="utf-8") as file:
        for row, moves in zip(csv.DictReader(file), drafts, strict=True):
            drafted = NANDA.stated(moves) if moves else {}
            cases += [
                Case(move, text, drafted.get(move, ""), row["abstract"])
                for move, text in NANDA.stated(row).items()
            ]
    return cases


def main() -> None:
    cases = read(Path(sys.argv[1]), Path(sys.argv[2]))
    both = [case for case in cases if case.draft]
    print(f"{len(cases)} moves, {len(both)} of them drafted")
    print(f"macro ROUGE-L of the drafts {macro(both, lambda case: case.draft):.3f}")
    print(f"{'weight':>8}{'right':>8}{'whole':>8}{'passage':>9}")
    for weight in WEIGHTS:
        right = mean(case.chosen(weight) == case.nearest for case in cases)
        texts = [macro(both, partial(way, weight=weight)) for way in (whole, passage)]
        print(f"{weight:>8}{right:>8.3f}{texts[0]:>8.3f}{texts[1]:>9.3f}")


if __name__ == "__main__":
    main()
