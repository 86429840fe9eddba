"""A paper on the page of a topic: its number, how it is cited, and what can be doubted of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skills.corpus.records import Annotated
from skills.nanda.arxiv_id import page_address
from skills.nanda.framework import Framework
from skills.nanda.markdown import escape
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

LOW_SUPPORT = 0.6
"""Below this share of its words in the abstract, a move counts as not borne out. Of the 3,581
stated moves of gold_train.csv and gold_dev.csv 12 have less."""
DOUBTFUL = "⚠"
AUTHORS = 8
"""Authors named in a reference; of more, the first ones."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A paper with its number on the page.

    Attributes:
        stated: the moves that are stated, by name, in the framework's order.
        doubts: what the abstract does not bear out, in words for Markdown, by name of the move.
    """

    number: int
    paper: Paper
    stated: Mapping[str, str]
    doubts: Mapping[str, str]

    @property
    def cited(self) -> str:
        return f"[{self.number}]"

    def says(self, move: str) -> str:
        """The text of a stated move, marked where the abstract does not bear it out."""
        mark = f" {DOUBTFUL}" if move in self.doubts else ""
        return text(self.stated[move]) + mark


def entry_of(number: int, item: Annotated, framework: Framework) -> Entry:
    """The entry of an annotated paper."""
    record = item.record
    stated = framework.stated({name: record[name] for name in framework.names})
    doubts = {name: "; ".join(_doubts(name, record["checks"])) for name in stated}
    return Entry(
        number, item.paper, stated, {name: doubt for name, doubt in doubts.items() if doubt}
    )


def text(value: str) -> str:
    """What a model, an abstract or a user wrote, on one line, with nothing Markdown acts on."""
    return escape(flatten(value))


def title(paper: Paper) -> str:
    """The title, or the id where there is none."""
    return text(paper.title) or f"Paper {text(paper.id)}"


def by_whom(paper: Paper) -> str:
    """Authors and year in short: "Zhou et al., 2025"; "n.d." for a paper without a date."""
    names = _authors(paper)
    family = [text(_family_name(name)) for name in names[:2]]
    who = f"{family[0]} et al." if len(names) > 2 else " and ".join(family)
    year = str(paper.year or "n.d.")
    return f"{who}, {year}" if who else year


def reference(paper: Paper) -> str:
    """Authors, title, year, and link or id."""
    names = _authors(paper)
    who = ", ".join(map(text, names[:AUTHORS])) + (" et al." if len(names) > AUTHORS else "")
    link = arxiv_link(paper)
    place = f"<{link}>" if link else text(paper.id)
    parts = (who, f"*{title(paper)}*", str(paper.year or "n.d."))
    return ". ".join([*(part.removesuffix(".") for part in parts if part), place])


def arxiv_link(paper: Paper) -> str:
    """The address of a paper's page at arXiv; "" for a paper that has none."""
    return page_address(paper.id) if paper.id_field == "arxiv_id" else ""


def cite(entries: Iterable[Entry], most: int | None = None) -> str:
    """ "[1], [4], [5]"; of more than `most`, the first ones and how many others."""
    cited = [entry.cited for entry in entries]
    if most is None or len(cited) <= most:
        return ", ".join(cited)
    return f"{', '.join(cited[:most])} and {len(cited) - most} more"


def papers(count: int) -> str:
    """ "1 paper", "3 papers"."""
    return f"{count:,} {'paper' if count == 1 else 'papers'}"


def _doubts(move: str, checks: Mapping[str, Any]) -> Iterator[str]:
    unsupported: Sequence[str] = [
        *checks["unsupported_numbers"].get(move, ()),
        *checks["unsupported_names"].get(move, ()),
    ]
    if unsupported:
        yield f"the abstract does not hold {', '.join(map(text, unsupported))}"
    support = checks["support"].get(move, 1.0)
    if support < LOW_SUPPORT:
        yield f"{support:.0%} of its words stand in the abstract"


def _authors(paper: Paper) -> list[str]:
    """Names as arXiv and most tables join them; a semicolon keeps "Zhou, Xuanhe" together."""
    names = re.split(";" if ";" in paper.authors else ", | and ", flatten(paper.authors))
    return [name.strip() for name in names if name.strip()]


def _family_name(name: str) -> str:
    return name.split(",")[0] if "," in name else name.split()[-1]
