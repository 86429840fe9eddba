"""A paper in a survey: its number, its stated moves, and what the checks doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skills.corpus.records import Annotated
from skills.corpus.tables.references.item import ET_AL, separate_names
from skills.nanda.arxiv_id import page_address
from skills.nanda.checks import findings
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

AUTHORS = 8
"""The number of authors named in a reference."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A paper with its number in the survey.

    Attributes:
        stated: the stated moves by name, in the framework's order.
        doubts: what the checks doubt, by name of the move.
    """

    number: int
    paper: Paper
    stated: Mapping[str, str]
    doubts: Mapping[str, str]


def entry_of(number: int, item: Annotated, framework: Framework) -> Entry:
    """Return the entry of an annotated paper."""
    record = item.record
    stated = framework.stated(record)
    doubts = {
        name: "; ".join(clauses)
        for name in stated
        if (clauses := findings(name, record, framework.labels))
    }
    return Entry(number, item.paper, stated, doubts)


def authors_and_year(paper: Paper) -> str:
    """Return "Zhou et al., 2025"; "n.d." for a paper without a date."""
    names = _authors(paper)
    family = [name.split(",")[0] if "," in name else name.split()[-1] for name in names[:2]]
    more = len(names) > 2 or names[1:] == [ET_AL]
    who = f"{family[0]} et al." if more else " and ".join(family)
    year = str(paper.year or "n.d.")
    return f"{who}, {year}" if who else year


def authors(paper: Paper) -> str:
    """Return the authors for a reference, without a final full stop; "" if unknown."""
    names = _authors(paper)
    more = " et al." if len(names) > AUTHORS else ""
    return (", ".join(names[:AUTHORS]) + more).removesuffix(".")


def arxiv_link(paper: Paper) -> str:
    """Return the URL of a paper's page at arXiv, or ""."""
    return page_address(paper.id) if paper.id_field == "arxiv_id" else ""


def _authors(paper: Paper) -> list[str]:
    names = separate_names(paper.authors)
    if ";" in paper.authors:
        return names
    return [one for name in names for one in name.split(" and ")]
