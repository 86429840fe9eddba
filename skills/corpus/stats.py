"""Count a corpus: stated moves by category and year, support by the abstracts, failures.

`of_corpus` queries the database, `Tally` counts given annotations; both return the same `Stats` for
the same annotations.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from skills.corpus.db.facets import first_category
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework
from skills.reporting.outputs import Share

CATEGORIES = 12
"""Categories with a row of their own; the others share one."""
OTHER, UNKNOWN = "other", "unknown"


@dataclass(frozen=True, slots=True)
class MoveStats:
    """The statistics of one move.

    Attributes:
        stated: annotations that state it, out of all.
        support: mean of `checks.support` over those that state it, 0 to 1; None if none does.
        unsupported_numbers, unsupported_names: those with a number or name that is not in the
            abstract, out of those that state it.
    """

    stated: Share
    support: float | None
    unsupported_numbers: Share
    unsupported_names: Share


@dataclass(frozen=True, slots=True)
class Group:
    """The annotations of one category or year, and the share that states each move."""

    name: str
    papers: int
    stated: Mapping[str, Share]


@dataclass(frozen=True, slots=True)
class Stats:
    """The statistics of a corpus, or of one job's rows; `figures` returns the JSON form.

    Attributes:
        papers: all papers, annotated or not.
        annotations: the current ones of this framework, to which the rest refers.
        models: annotations by model, most frequent first.
        moves: by name, in the framework's order.
        categories: by the first category, most frequent first, then "other" and "unknown".
        years: in order, "unknown" last.
        failures: papers without an annotation by error type, most frequent first.
    """

    framework: str
    papers: int
    annotations: int
    models: Mapping[str, int]
    moves: Mapping[str, MoveStats]
    categories: tuple[Group, ...]
    years: tuple[Group, ...]
    failures: Mapping[str, int]


_Facets = tuple[str, int | None, frozenset[str]]
"""First category, year, and stated moves."""
_SUMS = ("supports", "support", "numbers", "names")
"""The sums of the checks of a move over the annotations that state it; "supports" counts them."""


class Tally:
    """Counts annotations for their statistics."""

    def __init__(self, framework: Framework) -> None:
        self.framework = framework
        self.facets: Counter[_Facets] = Counter()
        self.models: Counter[str] = Counter()
        self.sums: Counter[tuple[str, str]] = Counter()

    def add(self, item: Annotated) -> None:
        stated, checks = self.framework.stated(item.record), item.record["checks"]
        self.facets[first_category(item.paper), item.paper.year, frozenset(stated)] += 1
        self.models[item.record["provenance"]["resolved"]] += 1
        for move in stated:
            support = checks["support"].get(move)
            self.sums[move, "supports"] += support is not None
            self.sums[move, "support"] += support or 0
            self.sums[move, "numbers"] += bool(checks["unsupported_numbers"].get(move))
            self.sums[move, "names"] += bool(checks["unsupported_names"].get(move))

    def stats(self, failed: Counter[str], papers: int | None = None) -> Stats:
        """Return the statistics.

        Args:
            failed: papers without an annotation, by the type of the error (`by_type`).
            papers: the number of papers, unless each has an annotation or a failure.
        """
        counted = ((stated, count) for (_, _, stated), count in self.facets.items())
        everything = _group("", counted, self.framework)
        moves = {}
        for name, stated in everything.stated.items():
            supports, support, numbers, names = (self.sums[name, what] for what in _SUMS)
            mean = support / supports if supports else None
            shares = Share(numbers, stated.count), Share(names, stated.count)
            moves[name] = MoveStats(stated, mean, *shares)
        return Stats(
            framework=self.framework.name,
            papers=everything.papers + failed.total() if papers is None else papers,
            annotations=everything.papers,
            models=dict(self.models.most_common()),
            moves=moves,
            categories=_by_category(self.facets, self.framework),
            years=_by_year(self.facets, self.framework),
            failures=dict(failed.most_common()),
        )


def by_type(failures: Iterable[Failure]) -> Counter[str]:
    """Count failures by the type of the error."""
    return Counter(failure.error_type for failure in failures)


def of_corpus(db: sqlite3.Connection, framework: Framework) -> Stats:
    """Return the statistics of the whole corpus."""
    from skills.corpus.db.merging import merged
    from skills.corpus.db.reads import failures

    tally = Tally(framework)
    # Both tables are read by covering indexes, since their rows are long.
    for category, year, stated, count in db.execute(
        "SELECT category, year, stated, count(*)"
        " FROM papers INDEXED BY papers_facets CROSS JOIN annotations ON paper_id = papers.id"
        " WHERE framework = ? AND current = 1 GROUP BY 1, 2, 3",
        [framework.name],
    ):
        tally.facets[category, year, frozenset(stated.split())] += count
    for move, *sums in db.execute(
        "SELECT move, count(support), total(support), sum(unsupported_numbers > 0),"
        " sum(unsupported_names > 0) FROM moves"
        " WHERE framework = ? AND current = 1 AND stated = 1 GROUP BY move",
        [framework.name],
    ):
        tally.sums.update({(move, what): value for what, value in zip(_SUMS, sums, strict=True)})
    for model, count in db.execute(
        "SELECT model, count(*) FROM annotations WHERE framework = ? AND current = 1"
        " GROUP BY model",
        [framework.name],
    ):
        tally.models[model] = count
    rows = db.execute("SELECT count(*) FROM papers").fetchone()[0]
    return tally.stats(by_type(failures(db)), rows - merged(db))


def _by_category(facets: Counter[_Facets], framework: Framework) -> tuple[Group, ...]:
    sizes = _grouped(facets, framework, lambda category, _: category)
    known = sorted(filter(None, sizes), key=lambda name: (-sizes[name].papers, name))
    shown = known[:CATEGORIES] if len(known) > CATEGORIES + 1 else known
    names = {name: name for name in shown} | {"": UNKNOWN}
    groups = _grouped(facets, framework, lambda category, _: names.get(category, OTHER))
    return tuple(groups[name] for name in (*shown, OTHER, UNKNOWN) if name in groups)


def _by_year(facets: Counter[_Facets], framework: Framework) -> tuple[Group, ...]:
    groups = _grouped(facets, framework, lambda _, year: UNKNOWN if year is None else f"{year:04}")
    return tuple(groups[name] for name in sorted(groups, key=lambda n: (n == UNKNOWN, n)))


def _grouped(
    facets: Counter[_Facets], framework: Framework, name_of: Callable[[str, int | None], str]
) -> dict[str, Group]:
    grouped: dict[str, list[tuple[frozenset[str], int]]] = defaultdict(list)
    for (category, year, stated), count in facets.items():
        grouped[name_of(category, year)].append((stated, count))
    return {name: _group(name, counted, framework) for name, counted in grouped.items()}


def _group(name: str, counted: Iterable[tuple[frozenset[str], int]], framework: Framework) -> Group:
    papers, stated = 0, Counter[str]()
    for moves, count in counted:
        papers += count
        stated.update(dict.fromkeys(moves, count))
    return Group(name, papers, {move: Share(stated[move], papers) for move in framework.names})
