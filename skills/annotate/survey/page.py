"""The page of a topic: its papers by claim, their moves side by side, gaps, and references.

It is made of annotations alone, by no model, and is the same every time. A paper is cited as [n];
where it is on arXiv, a link definition at the end of the page makes every [n] a link to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from skills.annotate.survey.entries import (
    DOUBTFUL,
    Entry,
    arxiv_link,
    by_whom,
    cite,
    entry_of,
    papers,
    reference,
    text,
    title,
)
from skills.annotate.survey.facts import facts
from skills.annotate.survey.groups import Group, Wording, grouped
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework, Move
from skills.nanda.paper import iso_date

STATED, NOT_STATED = "✓", "-"
CLAIM, LIMITATION = "claim", "limitation"
"""Moves that a framework may have, and which then have a section of their own."""
CITED = 20
"""Papers cited in one cell of a table at most; the matrix shows them all."""

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"


def as_markdown(
    topic: str, items: Sequence[Annotated], failures: Sequence[Failure], framework: Framework
) -> str:
    """The survey.

    Args:
        topic: as the user wrote it.
        items: annotated with the moves of `framework`, in any order.
        failures: papers on the topic that have no annotation.
    """
    items = sorted(
        items, key=lambda item: (iso_date(item.paper.published) or "9999", item.paper.title)
    )
    groups = _groups(topic, items, framework)
    places = [place for group in groups for place in group.members]
    entries = [entry_of(n, items[place], framework) for n, place in enumerate(places, start=1)]
    blocks = [f"# {_heading(topic)}", facts(items, failures, framework, entries)]
    if entries:
        blocks += _by_claim(groups, entries, framework)
        blocks += _across(entries, framework)
        blocks += _gaps(entries, framework)
    blocks += _failed(failures)
    blocks += _references(entries)
    return "\n\n".join(blocks) + "\n"


def _heading(topic: str) -> str:
    asked = text(topic)
    says_so = re.match(r"(?:an?\s|the\s)?\W*(?:survey|review|overview)\b", asked, re.IGNORECASE)
    return asked[:1].upper() + asked[1:] if says_so else f"Survey: {asked}"


def _groups(topic: str, items: Sequence[Annotated], framework: Framework) -> list[Group]:
    """The papers under the terms they share, or all in one group without a term."""
    claim = _claim(framework).name
    wordings = [
        Wording(item.paper.title, item.record[claim], item.paper.abstract) for item in items
    ]
    return grouped(topic, wordings) or [Group("", tuple(range(len(items))))]


def _claim(framework: Framework) -> Move:
    """The move that stands for a paper: its claim, or the first move of a framework without one."""
    return next((move for move in framework.moves if move.name == CLAIM), framework.moves[0])


def _by_claim(
    groups: Sequence[Group], entries: Sequence[Entry], framework: Framework
) -> Iterator[str]:
    yield f"## The papers by {_claim(framework).label.lower()}"
    if len(groups) > 1:
        yield "Grouped by terms that titles and abstracts share, the oldest paper of a group first."
    elif len(entries) > 1:
        yield "The oldest paper first."
    left = iter(entries)
    for group in groups:
        if len(groups) > 1:
            yield f"### {_capital(text(group.term)) if group.term else 'Other papers'}"
        yield "\n".join(_claimed(next(left), framework) for _ in group.members)


def _claimed(entry: Entry, framework: Framework) -> str:
    claim = _claim(framework).name
    says = entry.says(claim) if claim in entry.stated else text(framework.not_stated)
    return f"- {entry.cited} **{title(entry.paper)}** ({by_whom(entry.paper)}). {says}"


def _across(entries: Sequence[Entry], framework: Framework) -> Iterator[str]:
    """A matrix of papers and moves, then what each of them says of each move."""
    count, spelled = len(framework.moves), _NUMBERS.split()
    yield f"## The {spelled[count] if count < len(spelled) else count} moves across the papers"
    doubtful = f", {DOUBTFUL} stated but not borne out by the abstract (see below)"
    yield (
        f"{STATED} stated, {NOT_STATED} not stated"
        f"{doubtful if any(entry.doubts for entry in entries) else ''}."
    )
    yield _matrix(entries, framework)
    for move in framework.moves:
        if move.name in (_claim(framework).name, LIMITATION):
            continue
        yield f"### {move.label}"
        yield from _said(entries, move)


def _matrix(entries: Sequence[Entry], framework: Framework) -> str:
    rows = [["Paper", *(move.label for move in framework.moves)]]
    rows.append([":---", *(":---:" for _ in framework.moves)])
    for entry in entries:
        marks = (_mark(entry, move.name) for move in framework.moves)
        rows.append([f"{entry.cited} {by_whom(entry.paper)}", *marks])
    stated = (sum(move.name in entry.stated for entry in entries) for move in framework.moves)
    rows.append([f"**Stated, of {len(entries)}**", *map(str, stated)])
    return _table(rows)


def _mark(entry: Entry, move: str) -> str:
    if move in entry.doubts:
        return DOUBTFUL
    return STATED if move in entry.stated else NOT_STATED


def _said(entries: Sequence[Entry], move: Move) -> Iterator[str]:
    """What each paper states of a move."""
    stating = [entry for entry in entries if move.name in entry.stated]
    if stating:
        yield "\n".join(f"- {entry.cited} {entry.says(move.name)}" for entry in stating)
    else:
        yield "No paper states it."


def _gaps(entries: Sequence[Entry], framework: Framework) -> Iterator[str]:
    yield "## Gaps"
    for move in framework.moves:
        if move.name == LIMITATION:
            yield "### Limitations that the papers state"
            yield from _said(entries, move)
    yield "### What the abstracts do not state"
    missing = [
        (move, [entry for entry in entries if move.name not in entry.stated])
        for move in framework.moves
    ]
    missing.sort(key=lambda gap: -len(gap[1]))
    rows = [
        [move.label, f"{len(without)} of {len(entries)}", cite(without, CITED)]
        for move, without in missing
        if without
    ]
    yield (
        _table([["Move", "Not stated by", "Papers"], [":---"] * 3, *rows])
        if rows
        else "Every abstract states every move."
    )
    yield "### Not borne out by the abstract"
    labels = {move.name: move.label for move in framework.moves}
    doubts = [
        f"- {entry.cited} {labels[name]}: {doubt}."
        for entry in entries
        for name, doubt in entry.doubts.items()
    ]
    yield (
        "\n".join(doubts)
        if doubts
        else "Nothing: all numbers and names of the moves, and most of their words, stand in the "
        "abstracts."
    )


def _failed(failures: Sequence[Failure]) -> Iterator[str]:
    if failures:
        yield f"## Without an annotation: {papers(len(failures))}"
        yield "\n".join(
            f"- {reference(failure.paper)}. Why: {text(failure.reason)}" for failure in failures
        )


def _references(entries: Sequence[Entry]) -> Iterator[str]:
    if not entries:
        return
    yield "## References"
    yield "\n".join(f"- {entry.cited} {reference(entry.paper)}" for entry in entries)
    links = [(entry.cited, arxiv_link(entry.paper)) for entry in entries]
    if definitions := [f"{cited}: {link}" for cited, link in links if link]:
        yield "\n".join(definitions)


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
