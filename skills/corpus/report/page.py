"""The corpus as a page: searchable, with facets, statistics and failures, in one HTML file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from skills.corpus import stats
from skills.corpus.records import Annotated, Failure
from skills.corpus.report.data import LOW_SUPPORT, Provenances, facts, is_arxiv, paper_view
from skills.nanda.framework import Framework
from skills.reporting.page import ANNOTATIONS, write_page

ASSETS = Path(__file__).parent
SCRIPTS = (ANNOTATIONS, ASSETS / "page.js")
BINS = 20


def write_html(
    file: IO[bytes],
    *,
    title: str,
    items: Iterable[Annotated],
    failures: Iterable[Failure],
    framework: Framework,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write the page, paper by paper; equal input gives equal bytes.

    Args:
        file: a binary file.
        title: the heading.
        items: annotations under `framework`.
        failures: papers without an annotation.
        about: facts about the run, shown below the heading.
    """
    provenances, figures, failed = Provenances(), _Figures(framework), list(failures)

    def papers() -> Iterator[dict[str, Any]]:
        for item in items:
            figures.add(item)
            yield paper_view(item, framework, provenances)

    write_page(
        file,
        ASSETS / "page.html",
        *SCRIPTS,
        title=title,
        about=list(facts(about or {})),
        framework=framework,
        papers=papers(),
        provenances=provenances.shared,
        failures=failed,
        groups=_by_type(failed),
        figures=figures,
        statistics=lambda: figures.tally.stats(failed),
        is_arxiv=is_arxiv,
        low_support=LOW_SUPPORT,
    )


class _Figures:
    """Statistics that are collected while the papers are written.

    Attributes:
        bins: how many moves have a support in each twentieth.
    """

    def __init__(self, framework: Framework) -> None:
        self.tally = stats.Tally(framework)
        self.bins = [0] * BINS
        self._copied: dict[str, list[float]] = defaultdict(list)

    def add(self, item: Annotated) -> None:
        self.tally.add(item)
        for support in item.record["checks"]["support"].values():
            self.bins[min(BINS - 1, int(support * BINS + 1e-9))] += 1
        for move, copied in item.record["checks"]["copied"].items():
            self._copied[move].append(copied)

    def copied(self, move: str) -> float | None:
        """Return the mean share of a stated move that is copied word for word."""
        found = self._copied[move]
        return sum(found) / len(found) if found else None


def _by_type(failures: Iterable[Failure]) -> list[tuple[str, list[Failure]]]:
    """Return failures by the type of the error, the most common type first."""
    counts = Counter(one.error_type for one in failures)
    order = sorted(failures, key=lambda one: (-counts[one.error_type], one.error_type))
    return [(kind, list(group)) for kind, group in groupby(order, lambda one: one.error_type)]
