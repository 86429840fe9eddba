"""Compute statistics of annotations: stated moves by category and year, support, failures.

A `Tally` counts single annotations, or receives sums from queries (see search/engine.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from skills.corpus.db.facets import UNKNOWN, first_category
from skills.corpus.outputs import Group, MoveStats, Stats
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework
from skills.reporting.intervals import Share

CATEGORIES = 12
"""Number of frequent categories with a separate row; all others share the row `OTHER`.

If there is only one other category, this category also has a separate row.
"""
OTHER = "other"
SUMS = ("supports", "support", "numbers", "names")
"""The names of the sums for each move, over the annotations that state the move.

"supports" is the number of annotations with a support of the move, and "support" is the sum of
these supports. "numbers" is the number of annotations whose move has an unsupported number, and
"names" is the number of annotations whose move has an unsupported name.
"""

_Facets = tuple[str, int | None, frozenset[str]]
"""The primary category, the year and the stated moves of an annotation."""


class Tally:
    """Counts annotations, and computes their statistics.

    Attributes:
        facets: number of annotations for each value of `_Facets`.
        models: number of annotations by model.
        sums: the sums in `SUMS`, by move and name of the sum.
    """

    def __init__(self, framework: Framework) -> None:
        self.framework = framework
        self.facets: Counter[_Facets] = Counter()
        self.models: Counter[str] = Counter()
        self.sums: Counter[tuple[str, str]] = Counter()

    def add(self, item: Annotated) -> None:
        stated, checks = self.framework.stated(item.record), item.record["checks"]
        self.facets[first_category(item.paper.categories), item.paper.year, frozenset(stated)] += 1
        self.models[item.record["provenance"]["resolved"]] += 1
        for move in stated:
            support = checks["support"].get(move)
            self.sums[move, "supports"] += support is not None
            self.sums[move, "support"] += support or 0
            self.sums[move, "numbers"] += bool(checks["unsupported_numbers"].get(move))
            self.sums[move, "names"] += bool(checks["unsupported_names"].get(move))

    def stats(self, failed: Counter[str], papers: int | None = None) -> Stats:
        """Return the statistics of the counted annotations.

        Args:
            failed: number of failed papers by error type.
            papers: number of all papers; None if every paper has an annotation or a failure.
        """
        counted = ((stated, count) for (_, _, stated), count in self.facets.items())
        everything = self._group("", counted)
        moves = {}
        for name, stated in everything.stated.items():
            supports, support, numbers, names = (self.sums[name, kind] for kind in SUMS)
            moves[name] = MoveStats(
                stated=stated,
                support=support / supports if supports else None,
                unsupported_numbers=Share(numbers, stated.count),
                unsupported_names=Share(names, stated.count),
            )
        years = self._grouped(lambda _, year: UNKNOWN if year is None else f"{year:04}")
        return Stats(
            framework=self.framework.name,
            papers=everything.papers + failed.total() if papers is None else papers,
            annotations=everything.papers,
            models=dict(self.models.most_common()),
            moves=moves,
            categories=self._by_category(),
            years=[years[name] for name in sorted(years, key=lambda n: (n == UNKNOWN, n))],
            failures=dict(failed.most_common()),
        )

    def _by_category(self) -> list[Group]:
        sizes = self._grouped(lambda category, _: category)
        known = sorted(filter(None, sizes), key=lambda name: (-sizes[name].papers, name))
        shown = known[:CATEGORIES] if len(known) > CATEGORIES + 1 else known
        names = {name: name for name in shown} | {"": UNKNOWN}
        groups = self._grouped(lambda category, _: names.get(category, OTHER))
        return [groups[name] for name in (*shown, OTHER, UNKNOWN) if name in groups]

    def _grouped(self, name_of: Callable[[str, int | None], str]) -> dict[str, Group]:
        grouped: dict[str, list[tuple[frozenset[str], int]]] = defaultdict(list)
        for (category, year, stated), count in self.facets.items():
            grouped[name_of(category, year)].append((stated, count))
        return {name: self._group(name, counted) for name, counted in grouped.items()}

    def _group(self, name: str, counted: Iterable[tuple[frozenset[str], int]]) -> Group:
        papers, stated = 0, Counter[str]()
        for moves, count in counted:
            papers += count
            stated.update(dict.fromkeys(moves, count))
        shares = {move: Share(stated[move], papers) for move in self.framework.names}
        return Group(name=name, papers=papers, stated=shares)
