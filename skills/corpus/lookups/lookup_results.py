"""Render the results of lookups as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from harness.api.skill import SkillOptions
from harness.terminal.rendering import table
from skills.corpus.db.completion import Facts
from skills.corpus.records import Found
from skills.corpus.sources.services import CORPUS, NAMES, SERVICES, named
from skills.nanda.text import counted
from skills.reporting.outputs import Output

if TYPE_CHECKING:
    from skills.corpus.lookups.completing import Filled

SHOWN = 20


def nothing_to_ask(days: int) -> str:
    """Return the text for a run without a request."""
    return (
        "Nothing to look up: all papers that lack something and have an identifier were looked up "
        f"at these sources within {days} days. --refresh repeats it."
    )


def completed(made: Filled) -> str:
    """Return what was filled, and how each source has answered."""
    rows = [
        (SERVICES[name].title, one.found, one.unknown, one.left, one.requests)
        for name, one in made.answers.items()
    ]
    blocks = [table(("source", "found", "not known", "left", "requests"), rows)]
    filled = ", ".join(f"{name} {count:,}" for name, count in made.filled.most_common())
    lines = [f"Filled: {filled or 'nothing'}."]
    if made.added:
        lines.append(f"Abstracts found: {counted(made.added, 'paper')} added to the corpus.")
    if made.awaited:
        lines.append(f"Still without an abstract: {counted(made.awaited, 'paper')}.")
    for one in made.retracted[:SHOWN]:
        lines.append(f"Retracted: {one}")
    if len(made.retracted) > SHOWN:
        lines.append(f"Retracted: {len(made.retracted) - SHOWN:,} more (--json names all)")
    for one in made.others[:SHOWN]:
        lines.append(f"Unchanged, since the title is another one: {one}")
    if made.left:
        lines.append("The same line goes on with the papers that are left.")
    return "\n\n".join([*blocks, "\n".join(lines)])


def fetched(papers: Sequence[Found], counts: Mapping[str, int], query: str) -> str:
    """Return one line per paper, and how many were added."""
    rows = [
        (one.paper.id, one.paper.year, "" if one.cited is None else one.cited, one.title)
        for one in papers
    ]
    new, known = counts.get("new", 0), counts.get("known", 0)
    head = f"Added {counted(new, 'paper')} to the corpus; {known:,} were in it."
    next_line = f"`/annotate {query} --source corpus` annotates them."
    return f"{table(('paper', 'year', 'cited', 'title'), rows)}\n\n{head} {next_line}"


def ids_added(data: Mapping[str, Any]) -> str:
    """Return the counts of a list of ids."""
    known = data["known_papers"]
    lines = [
        f"Added {counted(data['papers'], 'paper')} of {counted(data['ids'], 'id')}; "
        f"{known:,} {'was' if known == 1 else 'were'} in the corpus."
    ]
    if data["missing"]:
        lines.append(f"Without a paper: {counted(len(data['missing']), 'id')}, each with a reason.")
    if data["repeated"]:
        lines.append(f"Repeated: {counted(data['repeated'], 'id')}.")
    return "\n".join(lines)


def facts_lines(facts: Facts) -> Iterator[str]:
    """Yield what was looked up about a paper, with its sources."""
    if facts.retracted:
        notice = f" by {facts.retraction}" if facts.retraction else ""
        yield f"RETRACTED{notice}"
    known = [f"in {facts.venue}"] if facts.venue else []
    if facts.cited is not None:
        known.append(f"cited {counted(facts.cited, 'time')}")
    if known:
        yield "; ".join(known)
    if facts.sources:
        places = (f"{name} ({day})" for name, day in facts.sources)
        yield f"Looked up at {', '.join(places)}"


def facts_json(facts: Facts) -> dict[str, Any]:
    """Return what was looked up about a paper."""
    return {
        "venue": facts.venue,
        "cited": facts.cited,
        "retracted": facts.retracted,
        "retraction": facts.retraction,
        "looked_up": dict(facts.sources),
    }


class Budget(Output):
    """What a lookup takes at most, by source."""

    budget: list[dict[str, Any]] = Field([], description="with --dry-run: papers, requests, ...")


class FetchedToFile(Budget):
    """The papers that sources have found, and that were saved."""

    query: str
    found: int
    errors: list[str] = Field(description="of sources that failed")


class Fetched(FetchedToFile):
    """The papers that sources have found, and that were added to the corpus."""

    new: int = Field(description="papers that the corpus did not have")
    known: int
    papers: list[dict[str, Any]]


class Completed(Budget):
    """What was filled."""

    filled: dict[str, int] = Field({}, description="papers by what was added: doi, venue, ...")
    added: int = Field(0, description="papers whose abstract was found")
    other_titles: list[str] = Field([], description="unchanged: a source has another title")
    retracted: list[str] = []
    awaited: int = Field(0, description="papers that are still without an abstract")
    sources: dict[str, dict[str, Any]] = Field({}, description="the answers of each")


def _sources(text: str | None) -> str | None:
    return None if text is None else ",".join(named(text, more=(CORPUS,)))


Sources = Annotated[str | None, AfterValidator(_sources)]
"""Names of sources with commas."""


class SourceOptions(SkillOptions):
    source: Sources = Field(
        None, description=f"where ids are looked up, with commas: {','.join(NAMES)}"
    )


class BudgetOptions(SkillOptions):
    dry_run: bool = Field(False, description="show what it takes, and request nothing")


class FetchOptions(BudgetOptions):
    max: int = Field(50, ge=1, le=2000, description="maximum number of papers")
    year: str | None = Field(None, description="papers of 2024, 2023..2025, 2024.. or ..2022")


class CompleteOptions(SourceOptions, BudgetOptions):
    requests: int | None = Field(
        None, ge=1, description="requests at most, of each source; the same line goes on later"
    )
    by_title: bool = Field(
        False, description="also papers without any identifier, one in a request"
    )
    refresh: bool = Field(False, description="repeat what was looked up in the last 30 days")
