"""Measure the recognition of 2,000 duplicates, each with one type of change.

    python bench/identity.py [--duplicates 2000] [--seed 1] [--show 20]

Each duplicate is a second record of an invented paper, as another source would write it: in another
case, with accents in TeX, with initials, without subtitle, with the DOI as a URL, or as the
published version of a preprint. The same number of other papers have a neighbour: a different but
similar paper, such as the second part of a series, an erratum, a paper with the same title by other
authors, or a chapter with the DOI of the volume. All records form one table, and all pairs of
records with a common key are compared (`skills/corpus/identity/matching.py:pairs`). Prints the
recall by type of change, the false pairs by type of neighbour, the precision over all found pairs,
and the records per second.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.identity_table import CHANGES, Row, table
from skills.corpus.identity.matching import pairs


@dataclass(slots=True)
class Measured:
    """The number of correct and wrong pairs that were found in a table.

    Attributes:
        rows: number of records.
        made, found: number of existing and of found duplicates, by type of change.
        unlike: number of pairs of preprint and published version that were merged as one paper
            instead of linked.
        false: number of found pairs of different papers, by the types of the two records.
        examples: descriptions of wrong decisions.
    """

    rows: int
    seconds: float
    made: Counter[str]
    found: Counter[str]
    unlike: int
    false: Counter[str]
    examples: list[str]

    @property
    def precision(self) -> float:
        return self.found.total() / (self.found.total() + self.false.total())

    @property
    def recall(self) -> float:
        return self.found.total() / self.made.total()


def measure(rows: list[Row]) -> Measured:
    """Compare all records of a table, and count correct, missed and false pairs."""
    begin = time.process_time()
    decided = list(pairs(row.known for row in rows))
    seconds = time.process_time() - begin
    made = Counter(row.kind for row in rows if row.kind in CHANGES)
    found: Counter[str] = Counter()
    false: Counter[str] = Counter()
    unlike, seen, examples = 0, set[int](), list[str]()
    for first, second, decision in decided:
        one, other = rows[first], rows[second]
        kinds = {one.kind, other.kind} - {""}
        if one.paper == other.paper:
            (kind,) = kinds
            found[kind] += 1
            unlike += kind == "preprint and published" and decision.relation != "linked"
            seen.add(one.paper)
            continue
        false[" / ".join(sorted(kinds)) or "two papers"] += 1
        examples.append(f"FALSE {decision.rule}: {one.known} / {other.known}")
    missed = {row.paper: row for row in rows if row.kind in CHANGES and row.paper not in seen}
    originals = {row.paper: row.known for row in rows if not row.kind}
    examples += [f"MISSED {row.kind}: {originals[p]} / {row.known}" for p, row in missed.items()]
    return Measured(len(rows), seconds, made, found, unlike, false, examples)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--duplicates", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="number of wrong decisions to print")
    options = parser.parse_args()
    measured = measure(table(options.duplicates, options.seed))
    print(f"{measured.rows:,} records, {measured.made.total():,} duplicates, seed {options.seed}")
    for kind in CHANGES:
        made, found = measured.made[kind], measured.found[kind]
        print(f"  {kind:32} recall {found / made if made else 0:.4f}  ({found} of {made})")
    print(f"  not linked as preprint and published: {measured.unlike}")
    for kind, count in measured.false.most_common():
        print(f"  false pairs, {kind}: {count}")
    print(f"precision {measured.precision:.4f}, recall {measured.recall:.4f}")
    print(f"{measured.rows / measured.seconds:,.0f} records/s of processor time")
    for example in measured.examples[: options.show]:
        print(example)


if __name__ == "__main__":
    main()
