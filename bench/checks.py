"""Measure the checks of moves: recall on corrupted moves, false alarms on gold moves.

    python bench/checks.py [--kinds] [--cases 200] [--seed 0]
    python bench/checks.py --papers papers.csv
    python bench/checks.py --read annotated.jsonl

Corrupts `--cases` moves of gold_train.csv and gold_train_cs.csv for each kind of corruption
(bench/corruptions.py). On one table, each check gets the margin with the highest recall at the
allowed share of false alarms; the check is then measured on the other table. Then the tables are
exchanged, and the two results are added. gold_dev.csv does not influence the margin, and is printed
for comparison. Intervals are exact (Clopper-Pearson). A check is shipped if it has at least 70%
recall and at most 5% false alarms. `--kinds` also prints the share of the corruptions of each kind
that each shipped check finds.

`--papers` writes the papers of bench/readings as a table. `--read` measures the checks on an
annotator's moves of these papers, which a person labelled (bench/readings/README.md).
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import corruptions, rejected_checks  # noqa: E402
from skills.nanda.checks import DOUBTS  # noqa: E402
from skills.nanda.doubts import (  # noqa: E402
    changed_units,
    lost_negations,
    moved_numbers,
    repeated_words,
    turned_words,
)
from skills.nanda.framework import nanda, sha256_of  # noqa: E402
from skills.nanda.paper import ID_FIELDS, Paper  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
READINGS = Path(__file__).parent / "readings"
TABLES, DEV = ("gold_train.csv", "gold_train_cs.csv"), "gold_dev.csv"
LEAST_RECALL, MOST_ALARMS = 0.7, 0.05
BAD = ("false", "garbled")

ALL, DIGITS, ANY = ("all",), ("with a digit",), ("doubted",)

Annotations = Sequence[tuple[Paper, Mapping[str, str]]]
Alarms = Counter[tuple[Any, ...]]
"""Number of moves in which a check finds an error, by (name, *margin) of the check.

The values of the keys `ALL`, `DIGITS` and `ANY` are the numbers of all moves, of the moves with a
digit, and of the moves in which any shipped check finds an error.
"""


@dataclass(frozen=True, slots=True)
class Check:
    """A check and the settings of its measurement.

    Attributes:
        kinds: the kinds of corruption that the check should find.
        margins: the margins to choose from; () if the check has no margin.
        allowed: maximum share of false alarms for the chosen margin. It is smaller than
            `MOST_ALARMS`, since the alarms of several checks add up.
    """

    finds: Callable[..., list[str]]
    kinds: tuple[str, ...]
    margins: tuple[float, ...] = ()
    allowed: float = 0.02

    @property
    def name(self) -> str:
        return self.finds.__name__

    @property
    def shipped(self) -> tuple[float, ...]:
        """The shipped margin as a tuple of arguments; () without a margin."""
        return tuple(self.finds.__defaults__ or ())


CHECKS = (
    Check(moved_numbers, ("number moved",), (0.05, 0.1, 0.15, 0.2, 0.3), allowed=0.005),
    Check(changed_units, ("unit changed",)),
    Check(lost_negations, ("negation lost",), (0.0, 0.15, 0.3)),
    Check(turned_words, ("comparison turned", "meaning turned"), (-0.4, -0.2, 0.0, 0.2)),
    Check(repeated_words, ("clause repeated",)),
    Check(rejected_checks.swapped_sides, ("subjects swapped",), (1, 2, 3)),
    Check(rejected_checks.joined_runs, ("sentences joined",), (3, 4, 5)),
)
SHIPPED = [check for check in CHECKS if check.name in DOUBTS]


def main() -> None:
    parser = argparse.ArgumentParser(description="recall and false alarms of the checks of moves")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--kinds", action="store_true", help="print the found share of each kind of corruption"
    )
    parser.add_argument(
        "--papers", type=Path, help="write the papers of bench/readings to this .csv"
    )
    parser.add_argument(
        "--read", type=Path, help="annotations of the papers of bench/readings, as .jsonl"
    )
    options = parser.parse_args()
    if options.papers:
        write_papers(options.papers)
    elif options.read:
        of_readings(options.read)
    else:
        of_corruptions(options.cases, options.seed, kinds=options.kinds)


def of_corruptions(cases: int, seed: int, *, kinds: bool) -> None:
    """Print the recall and false alarms of each check, with a margin from the other table."""
    halves = [gold(table) for table in TABLES]
    good = [alarms(pairs(half)) for half in halves]
    dev = alarms(pairs(gold(DEV)))
    bad = {
        kind: [alarms(half) for half in false_moves(kind, halves, cases, seed)]
        for kind in corruptions.MAKERS
    }
    print(f"{'':36}{'margin':>13}{'recall':>24}{'false alarms':>24}{'gold_dev':>10}")
    for check in CHECKS:
        for kind in check.kinds:
            print(row(check, kind, good, bad[kind], dev))
    every = good[0] + good[1]
    print(f"\ngold moves in which any check finds an error: {share(every[ANY], every[ALL])}")
    for check in SHIPPED[:2]:
        distinguished = share(every[check.name, *check.shipped], every[DIGITS])
        print(f"{check.name}, of those with a digit: {distinguished}")
    if kinds:
        print(f"\n{'found of':20}" + "".join(f"{check.name:>17}" for check in SHIPPED))
        for kind, (one, other) in bad.items():
            made = one + other
            found = (made[check.name, *check.shipped] / made[ALL] for check in SHIPPED)
            print(f"{kind:20}" + "".join(f"{of_kind:>17.2f}" for of_kind in found))


def row(check: Check, kind: str, good: Sequence[Alarms], bad: Sequence[Alarms], dev: Alarms) -> str:
    """Return the printed line of a check for a kind of corruption.

    Args:
        good, bad: for each of the two tables, the alarms on gold moves and on corrupted moves.
        dev: the alarms on the moves of gold_dev.csv.
    """
    chosen = [chosen_margin(check, good[1 - i], bad[1 - i]) for i in (0, 1)]
    recall = [half[check.name, *margin] for half, margin in zip(bad, chosen, strict=True)]
    false = [half[check.name, *margin] for half, margin in zip(good, chosen, strict=True)]
    of = [sum(half[ALL] for half in halves) for halves in (bad, good)]
    ships = sum(recall) >= LEAST_RECALL * of[0] and sum(false) <= MOST_ALARMS * of[1]
    margins = ", ".join(f"{margin:g}" for [margin] in filter(None, chosen))
    of_dev = dev[check.name, *chosen[0]] / dev[ALL]
    return (
        f"{check.name:18}{kind:18}{margins:>13}{share(sum(recall), of[0]):>24}"
        f"{share(sum(false), of[1]):>24}{of_dev:>10.3f}  {'' if ships else 'does not ship'}"
    ).rstrip()


def alarms(moves: Iterable[tuple[str, str]]) -> Alarms:
    """Count the (abstract, move) pairs in which each check finds an error, for each margin."""
    found: Alarms = Counter()
    for abstract, text in moves:
        found[ALL] += 1
        found[DIGITS] += any(char.isdigit() for char in text)
        for check in CHECKS:
            for margin in [(one,) for one in check.margins] or [()]:
                found[check.name, *margin] += bool(check.finds(abstract, text, *margin))
        found[ANY] += any(check.finds(abstract, text) for check in SHIPPED)
    return found


def chosen_margin(check: Check, good: Alarms, bad: Alarms) -> tuple[float, ...]:
    """Return a tuple of the margin that has the highest recall with few enough false alarms.

    If every margin has too many false alarms, the last margin is chosen. The tuple is empty if the
    check has no margins.
    """
    if not check.margins:
        return ()
    name, most = check.name, check.allowed * good[ALL]
    allowed = [margin for margin in check.margins if good[name, margin] <= most]
    return (max(allowed or check.margins[-1:], key=lambda margin: (bad[name, margin], margin)),)


def false_moves(
    kind: str, halves: Sequence[Annotations], cases: int, seed: int
) -> list[list[tuple[str, str]]]:
    """Return (abstract, corrupted move) pairs of a kind of corruption, for each of `halves`."""
    every = [item for half in halves for item in half]
    made = corruptions.make(kind, every, nanda(), cases, seed)
    of = {paper.sha256: i for i, half in enumerate(halves) for paper, _ in half}
    return [
        [(case.paper.abstract, case.false) for case in made if of[case.paper.sha256] == i]
        for i in range(len(halves))
    ]


def gold(table: str) -> Annotations:
    """Return the papers of a gold table with the moves that they state."""
    with (DATA / table).open(encoding="utf-8", newline="") as file:
        return [(paper_of(row), nanda().stated(row)) for row in csv.DictReader(file)]


def paper_of(row: Mapping[str, str]) -> Paper:
    key = next(name for name in ID_FIELDS if name in row)
    return Paper(key, row[key], "", row["abstract"])


def pairs(annotations: Annotations) -> list[tuple[str, str]]:
    return [(paper.abstract, text) for paper, moves in annotations for text in moves.values()]


def share(count: int, of: int) -> str:
    """Return `count / of` as text, with its exact (Clopper-Pearson) 95% interval."""
    from scipy.stats import binomtest

    interval = binomtest(count, of).proportion_ci(method="exact")
    return f"{count / of:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def write_papers(path: Path) -> None:
    """Write the papers of bench/readings as a table for /annotate, without annotations."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["paper_id", "abstract"])
        writer.writerows((name, abstracts()[name]) for name in labels())


def of_readings(path: Path) -> None:
    """Print how often the shipped checks find an error in moves that a person labelled."""
    found: Counter[tuple[str, str]] = Counter()
    moves: Counter[str] = Counter()
    read, changed = labels(), 0
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        label = read[row["paper_id"]]
        written = {name: row[name] for name in nanda().names}
        if sha256_of(written) != label["moves_sha256"]:
            changed += 1
            continue
        for name, text in nanda().stated(written).items():
            abstract = abstracts()[row["paper_id"]]
            doubts = [check.name for check in SHIPPED if check.finds(abstract, text)]
            moves[label[name]] += 1
            found.update((label[name], doubt) for doubt in doubts)
            found[label[name], "any of them"] += bool(doubts)
    if changed:
        print(f"{changed} papers are left out: their moves are not those that were read")
    names = [check.name for check in SHIPPED] + ["any of them"]
    print(f"{'':12}{'moves':>6}" + "".join(f"{name:>16}" for name in names))
    for label, count in moves.most_common():
        print(f"{label:12}{count:>6}" + "".join(f"{found[label, name]:>16}" for name in names))
    bad = sum(moves[label] for label in BAD)
    caught = sum(found[label, "any of them"] for label in BAD)
    alarms = sum(found[label, "any of them"] for label in moves if label not in BAD)
    print(f"\nfound among the false and garbled moves: {share(caught, bad)}")
    print(f"false alarms among the other moves: {share(alarms, moves.total() - bad)}")


@functools.cache
def labels() -> dict[str, dict[str, str]]:
    """Return the labels of bench/readings by paper id."""
    with (READINGS / "nanda-annotator.csv").open(encoding="utf-8", newline="") as file:
        return {row["paper_id"]: row for row in csv.DictReader(file)}


@functools.cache
def abstracts() -> dict[str, str]:
    """Return the abstracts of csabstruct_dev.jsonl by paper id."""
    lines = (DATA / "csabstruct_dev.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["paper_id"]: " ".join(row["sentences"]) for row in map(json.loads, lines)}


if __name__ == "__main__":
    main()
