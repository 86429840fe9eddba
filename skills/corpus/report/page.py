"""The corpus as a page: searchable, with facets, statistics and failures, in one HTML file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import IO, Any

from skills.corpus.records import Annotated, Failure
from skills.corpus.report.data import Facts, facts, paper_view
from skills.corpus.stats import UNKNOWN, Tally, by_type
from skills.nanda.framework import Framework
from skills.reporting.page import ANNOTATIONS, write_page
from skills.reporting.statistics import FEWEST

FOLDER = Path(__file__).parent
SCRIPTS = (ANNOTATIONS, FOLDER / "page.js")


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
        items: annotations under `framework`.
        failures: papers without an annotation.
        about: facts about the run, shown below the heading.
    """
    failed, tally = list(failures), Tally(framework)
    provenances: dict[Facts, int] = {}
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    copied: defaultdict[str, list[float]] = defaultdict(list)

    def papers() -> Iterator[dict[str, Any]]:
        for item in items:
            tally.add(item)
            for move, share in item.record["checks"]["copied"].items():
                copied[move].append(share)
            view = paper_view(item, framework, provenances)
            for facet, values in view["facets"].items():
                counts[facet].update(values)
            yield view

    write_page(
        file,
        FOLDER / "page.html",
        *SCRIPTS,
        title=title,
        about=facts(about or {}),
        framework=framework,
        failures=failed,
        papers=papers(),
        provenances=provenances,
        facets=counts,
        statistics=lambda: tally.stats(by_type(failed)),
        fewest=FEWEST,
        unknown=UNKNOWN,
        copied=lambda move: fmean(copied[move]) if copied[move] else None,
    )
