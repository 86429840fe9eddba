"""Count a corpus: stated moves by category and year, support by the abstracts, failures.

`of_corpus` queries the database, `of_items` counts given annotations; both return the same `Stats`
for the same annotations.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skills.corpus.db.facets import first_category
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework
from skills.reporting.statistics import Share

if TYPE_CHECKING:
    from sqlite_utils import Database

CATEGORIES = 12
"""Categories with a row of their own; the others share one."""
OTHER, UNKNOWN = "other", "unknown"


@dataclass(frozen=True, slots=True)
class MoveStats:
    """The statistics of one move.

    Attributes:
        stated: annotations that state it, out of all.
        support: mean of `checks.support` over those that state it, 0 to 1; None if none does.
        numbers, names: those with an unsupported number or name, out of those that state it.
    """

    move: str
    stated: Share
    support: float | None
    numbers: Share
    names: Share


@dataclass(frozen=True, slots=True)
class Group:
    """The annotations of one category or year, and the share that states each move."""

    name: str
    papers: int
    stated: Mapping[str, Share]


@dataclass(frozen=True, slots=True)
class Stats:
    """The statistics of a corpus, or of one job's rows.

    Attributes:
        papers: all papers, annotated or not.
        annotations: the current ones of this framework, to which the rest refers.
        models: annotations by model, most frequent first.
        moves: in the framework's order.
        categories: by the first category, most frequent first, then "other" and "unknown".
        years: in order, "unknown" last.
        failures: papers without an annotation by error type, most frequent first.
    """

    framework: str
    papers: int
    annotations: int
    models: Mapping[str, int]
    moves: tuple[MoveStats, ...]
    categories: tuple[Group, ...]
    years: tuple[Group, ...]
    failures: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, with shares as in `Share.as_dict`."""
        return {
            "framework": self.framework,
            "papers": self.papers,
            "annotations": self.annotations,
            "models": dict(self.models),
            "moves": {
                move.move: {
                    "stated": move.stated.as_dict(),
                    "support": None if move.support is None else round(move.support, 4),
                    "unsupported_numbers": move.numbers.as_dict(),
                    "unsupported_names": move.names.as_dict(),
                }
                for move in self.moves
            },
            "categories": [_group_as_dict(group) for group in self.categories],
            "years": [_group_as_dict(group) for group in self.years],
            "failures": dict(self.failures),
        }


def of_corpus(db: Database, framework: Framework) -> Stats:
    """Return the statistics of the whole corpus."""
    from skills.corpus.db.reads import failures

    facets: Counter[_Facets] = Counter()
    # Both tables are read by covering indexes, since their rows are long.
    for category, year, stated, count in db.conn.execute(
        "SELECT category, year, stated, count(*)"
        " FROM papers INDEXED BY papers_facets CROSS JOIN annotations ON paper_id = papers.id"
        " WHERE framework = ? AND current = 1 GROUP BY 1, 2, 3",
        [framework.name],
    ):
        facets[category, year, frozenset(stated.split())] += count
    sums: dict[str, _Sums] = defaultdict(_Sums)
    for move, supports, support, numbers, names in db.conn.execute(
        "SELECT move, count(support), total(support), sum(unsupported_numbers > 0),"
        " sum(unsupported_names > 0) FROM moves"
        " WHERE framework = ? AND current = 1 AND stated = 1 GROUP BY move",
        [framework.name],
    ):
        sums[move] = _Sums(supports, support, numbers, names)
    models = db.conn.execute(
        "SELECT model, count(*) FROM annotations WHERE framework = ? AND current = 1"
        " GROUP BY model",
        [framework.name],
    )
    return _stats(
        framework,
        papers=db.conn.execute("SELECT count(*) FROM papers").fetchone()[0],
        models=Counter(dict(map(tuple, models))),
        facets=facets,
        sums=sums,
        failures=Counter(failure.error_type for failure in failures(db)),
    )


def of_items(
    items: Iterable[Annotated], failures: Iterable[Failure], framework: Framework
) -> Stats:
    """Return the statistics of these annotations and failures; `items` is iterated once."""
    facets: Counter[_Facets] = Counter()
    models: Counter[str] = Counter()
    sums: dict[str, _Sums] = defaultdict(_Sums)
    for item in items:
        checks = item.record["checks"]
        stated = framework.stated({name: item.record[name] for name in framework.names})
        facets[first_category(item.paper), item.paper.year, frozenset(stated)] += 1
        models[item.record["provenance"]["resolved"]] += 1
        for move in stated:
            sums[move].add(checks, move)
    failed = Counter(failure.error_type for failure in failures)
    papers = facets.total() + failed.total()
    return _stats(
        framework, papers=papers, models=models, facets=facets, sums=sums, failures=failed
    )


_Facets = tuple[str, int | None, frozenset[str]]
"""First category, year, and stated moves."""


@dataclass(slots=True)
class _Sums:
    """Sums of the checks of one move, over the annotations that state it."""

    supports: int = 0
    support: float = 0.0
    numbers: int = 0
    names: int = 0

    def add(self, checks: Mapping[str, Any], move: str) -> None:
        support = checks["support"].get(move)
        if support is not None:
            self.supports += 1
            self.support += support
        self.numbers += bool(checks["unsupported_numbers"].get(move))
        self.names += bool(checks["unsupported_names"].get(move))


def _stats(
    framework: Framework,
    *,
    papers: int,
    models: Counter[str],
    facets: Counter[_Facets],
    sums: Mapping[str, _Sums],
    failures: Counter[str],
) -> Stats:
    everything = _group("", facets.items(), framework)
    moves = []
    for name in framework.names:
        stated, summed = everything.stated[name], sums.get(name, _Sums())
        moves.append(
            MoveStats(
                name,
                stated,
                summed.support / summed.supports if summed.supports else None,
                Share(summed.numbers, stated.count),
                Share(summed.names, stated.count),
            )
        )
    return Stats(
        framework=framework.name,
        papers=papers,
        annotations=everything.papers,
        models=dict(models.most_common()),
        moves=tuple(moves),
        categories=_by_category(facets, framework),
        years=_by_year(facets, framework),
        failures=dict(failures.most_common()),
    )


def _by_category(facets: Counter[_Facets], framework: Framework) -> tuple[Group, ...]:
    sizes: Counter[str] = Counter()
    for (category, _, _), count in facets.items():
        sizes[category] += count
    known = [name for name, _ in sorted(sizes.items(), key=lambda s: (-s[1], s[0])) if name]
    shown = known[:CATEGORIES] if len(known) > CATEGORIES + 1 else known
    names = {name: name for name in shown} | {"": UNKNOWN}
    order = [*shown, OTHER, UNKNOWN]
    grouped: dict[str, list[tuple[_Facets, int]]] = defaultdict(list)
    for facet, count in facets.items():
        grouped[names.get(facet[0], OTHER)].append((facet, count))
    return tuple(_group(name, grouped[name], framework) for name in order if name in grouped)


def _by_year(facets: Counter[_Facets], framework: Framework) -> tuple[Group, ...]:
    grouped: dict[str, list[tuple[_Facets, int]]] = defaultdict(list)
    for facet, count in facets.items():
        grouped[UNKNOWN if facet[1] is None else f"{facet[1]:04}"].append((facet, count))
    order = sorted(grouped, key=lambda name: (name == UNKNOWN, name))
    return tuple(_group(name, grouped[name], framework) for name in order)


def _group(name: str, facets: Iterable[tuple[_Facets, int]], framework: Framework) -> Group:
    papers, stated = 0, Counter[str]()
    for (_, _, moves), count in facets:
        papers += count
        for move in moves:
            stated[move] += count
    return Group(name, papers, {move: Share(stated[move], papers) for move in framework.names})


def _group_as_dict(group: Group) -> dict[str, Any]:
    shares = {move: share.as_dict() for move, share in group.stated.items()}
    return {"name": group.name, "papers": group.papers, "stated": shares}
