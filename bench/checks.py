"""Measure the checks of reworded moves: recall on corrupted moves, false alarms on the gold.

    python bench/checks.py [--kinds] [--cases 200] [--seed 0]
    python bench/checks.py --papers papers.csv
    python bench/checks.py --read annotated.jsonl

Corrupts moves of gold_train.csv and gold_train_cs.csv by type (bench/corruptions.py), `--cases` of
each kind, the same for the same seed. A check's margin is chosen on one table, as the one with the
most recall at `ALLOWED` false alarms, and measured on the other; both are added up. gold_dev.csv
has no part in the choice, and is printed for comparison. Intervals are exact (Clopper-Pearson).
A check ships with at least 70% recall and at most 5% false alarms. `--kinds` prints how many
corruptions of each kind every check finds.

`--papers` writes the papers of bench/readings, and `--read` measures the checks on the moves of an
annotator that a person labelled. bench/readings/README.md has the labels.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scipy.stats import binomtest  # noqa: E402

from bench import corruptions, rejected_checks  # noqa: E402
from skills.nanda.doubts.direction import turned_words  # noqa: E402
from skills.nanda.doubts.negation import lost_negations  # noqa: E402
from skills.nanda.doubts.numbers import changed_units, moved_numbers  # noqa: E402
from skills.nanda.framework import nanda, sha256_of  # noqa: E402
from skills.nanda.paper import ID_FIELDS, Paper  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
READINGS = Path(__file__).parent / "readings"
TABLES, DEV = ("gold_train.csv", "gold_train_cs.csv"), "gold_dev.csv"
ALLOWED = 0.02
"""The share of false alarms of a check at which its margin is chosen: several checks add up."""
LEAST_RECALL, MOST_ALARMS = 0.7, 0.05
BAD = ("false", "garbled")

Annotations = Sequence[tuple[Paper, Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Check:
    """A check, the kinds of corruption that it is for, and the margins to choose from."""

    finds: Callable[..., list[str]]
    kinds: tuple[str, ...]
    margins: tuple[float, ...] = ()
    ships: bool = True

    @property
    def name(self) -> str:
        return self.finds.__name__

    def alarms(self, texts: Sequence[tuple[str, str]], *margin: float) -> int:
        """Return in how many moves it finds something; each has its abstract before it."""
        return sum(bool(self.finds(abstract, move, *margin)) for abstract, move in texts)


CHECKS = (
    Check(moved_numbers, ("number moved",), (0.05, 0.1, 0.15, 0.2, 0.3)),
    Check(changed_units, ("unit changed",)),
    Check(lost_negations, ("negation lost",), (0.0, 0.15, 0.3)),
    Check(turned_words, ("comparison turned", "meaning turned"), (-0.4, -0.2, 0.0, 0.2)),
    Check(rejected_checks.swapped_sides, ("subjects swapped",), (1, 2, 3), ships=False),
    Check(rejected_checks.joined_runs, ("sentences joined",), (3, 4, 5), ships=False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="recall and false alarms of the checks of moves")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", action="store_true", help="what each check finds of each kind")
    parser.add_argument("--papers", type=Path, help="write the papers of the readings to this .csv")
    parser.add_argument("--read", type=Path, help="annotations of those papers, as .jsonl")
    options = parser.parse_args()
    if options.papers:
        write_papers(options.papers)
    elif options.read:
        of_readings(options.read)
    else:
        of_corruptions(options.cases, options.seed, kinds=options.kinds)


def of_corruptions(cases: int, seed: int, *, kinds: bool) -> None:
    """Print recall and false alarms of each check, chosen on one table and measured on another."""
    halves = [gold(table) for table in TABLES]
    good = [pairs(half) for half in halves]
    dev = pairs(gold(DEV))
    found = {kind: false_moves(kind, halves, cases, seed) for kind in corruptions.MAKERS}
    print(f"{'':18}{'':18}{'margin':>13}{'recall':>21}{'false alarms':>22}{'gold_dev':>10}")
    for check in CHECKS:
        for kind in check.kinds:
            bad = found[kind]
            chosen = [chosen_margin(check, good[1 - i], bad[1 - i]) for i in (0, 1)]
            recall = [check.alarms(bad[i], *chosen[i]) for i in (0, 1)]
            alarms = [check.alarms(good[i], *chosen[i]) for i in (0, 1)]
            of_dev = check.alarms(dev, *chosen_margin(check, sum(good, []), sum(bad, [])))
            shares = sum(recall) / sum(map(len, bad)), sum(alarms) / sum(map(len, good))
            ships = shares[0] >= LEAST_RECALL and shares[1] <= MOST_ALARMS
            print(
                f"{check.name:18}{kind:18}"
                f"{', '.join(f'{margin:g}' for [margin] in filter(None, chosen)):>13}"
                f"{share(sum(recall), sum(map(len, bad))):>21}"
                f"{share(sum(alarms), sum(map(len, good))):>22}"
                f"{of_dev / len(dev):>10.3f}  {'ships' if ships else 'does not ship'}",
                flush=True,
            )
    all_good = sum(good, [])
    doubted = sum(any(check.finds(*move) for check in CHECKS if check.ships) for move in all_good)
    print(f"\nmoves of the gold that some shipped check doubts: {share(doubted, len(all_good))}")
    with_number = [move for move in all_good if any(char.isdigit() for char in move[1])]
    for check in CHECKS[:2]:
        told = share(check.alarms(with_number), len(with_number))
        print(f"{check.name}, of the moves with a digit: {told}")
    if kinds:
        print(f"\n{'found of':20}" + "".join(f"{check.name:>17}" for check in CHECKS))
        for kind, bad in found.items():
            every = sum(bad, [])
            counts = (check.alarms(every) / len(every) for check in CHECKS)
            print(f"{kind:20}" + "".join(f"{count:>17.2f}" for count in counts))


def chosen_margin(
    check: Check, good: Sequence[tuple[str, str]], bad: Sequence[tuple[str, str]]
) -> tuple[float, ...]:
    """Return the margin with the highest recall at `ALLOWED` false alarms, as arguments."""
    if not check.margins:
        return ()
    allowed = [m for m in check.margins if check.alarms(good, m) <= ALLOWED * len(good)]
    return (max(allowed or check.margins[-1:], key=lambda m: (check.alarms(bad, m), m)),)


def false_moves(
    kind: str, halves: Sequence[Annotations], cases: int, seed: int
) -> list[list[tuple[str, str]]]:
    """Return the corrupted moves of a kind with their abstracts, by half."""
    every = [item for half in halves for item in half]
    made = corruptions.make(kind, every, nanda(), cases, seed)
    of = {paper.sha256: i for i, half in enumerate(halves) for paper, _ in half}
    return [
        [(case.paper.abstract, case.false) for case in made if of[case.paper.sha256] == i]
        for i in range(len(halves))
    ]


def gold(table: str) -> Annotations:
    """Return the papers of a gold table with their stated moves."""
    with (DATA / table).open(encoding="utf-8", newline="") as file:
        return [(paper_of(row), nanda().stated(row)) for row in csv.DictReader(file)]


def paper_of(row: Mapping[str, str]) -> Paper:
    key = next(name for name in ID_FIELDS if name in row)
    return Paper(key, row[key], "", row["abstract"])


def pairs(annotations: Annotations) -> list[tuple[str, str]]:
    return [(paper.abstract, text) for paper, moves in annotations for text in moves.values()]


def share(count: int, of: int) -> str:
    """Return a share with its exact 95% interval."""
    interval = binomtest(count, of).proportion_ci(method="exact")
    return f"{count / of:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def write_papers(path: Path) -> None:
    """Write the papers that were read, without annotations, as a table for /annotate."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["paper_id", "abstract"])
        writer.writerows((name, abstracts()[name]) for name in labels())


def of_readings(path: Path) -> None:
    """Print what the shipped checks find in moves that a person labelled."""
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
            doubts = [
                check.name
                for check in CHECKS
                if check.ships and check.finds(abstracts()[row["paper_id"]], text)
            ]
            moves[label[name]] += 1
            found.update((label[name], doubt) for doubt in doubts)
            found[label[name], "any of them"] += bool(doubts)
    if changed:
        print(f"{changed} papers are left out: their moves are not those that were read")
    names = [check.name for check in CHECKS if check.ships] + ["any of them"]
    print(f"{'':12}{'moves':>6}" + "".join(f"{name:>16}" for name in names))
    for label, count in moves.most_common():
        print(f"{label:12}{count:>6}" + "".join(f"{found[label, name]:>16}" for name in names))
    bad = sum(moves[label] for label in BAD)
    caught = sum(found[label, "any of them"] for label in BAD)
    alarms = sum(found[label, "any of them"] for label in moves if label not in BAD)
    print(f"\nof the false and garbled: {share(caught, bad)}")
    print(f"of the others: {share(alarms, moves.total() - bad)}")


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
