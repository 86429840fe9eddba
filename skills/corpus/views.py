"""What /corpus shows: the same facts as its JSON, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.terminal.tables import table
from skills.corpus.db.reads import Kept
from skills.corpus.db.verify import Wrong
from skills.corpus.importer import Added
from skills.corpus.records import Annotated, Failure
from skills.corpus.search.fulltext import Found
from skills.corpus.stats import Group, Stats
from skills.nanda.framework import RESERVED, Framework
from skills.reporting.statistics import Share

WIDTH = 96
_LEGEND = """\
stated: percent of the annotations, with the 95% interval; support: mean share of a move's words
found in the abstract; amiss: percent of the stated moves with a number or name that it lacks"""


def added(added: Added, path: Path) -> str:
    """What an import has brought, in sentences."""
    lines = [
        f"Added {_count(added.papers, 'paper')} and {_count(added.annotations, 'annotation')} "
        f"from {path}."
    ]
    if added.known_papers or added.known_annotations:
        lines.append(
            f"{_count(added.known_papers, 'paper')} and "
            f"{_count(added.known_annotations, 'annotation')} were there already."
        )
    if added.without_moves:
        lines.append(f"Without moves: {_count(added.without_moves, 'paper')}.")
    if added.empty:
        lines.append(f"Left out without an abstract: {_count(added.empty, 'row')}.")
    if added.repeated:
        lines.append(f"Left out as repeated: {_count(added.repeated, 'row')}.")
    if added.renamed:
        lines.append(
            f"{_count(added.renamed, 'annotation')} did not agree with what the file says of where "
            "they come from, and count as imported."
        )
    return "\n".join(lines)


def hits(found: Found) -> str:
    """One line for each move that was found."""
    rows = [(hit.id, hit.year, hit.title, hit.move, hit.snippet) for hit in found.hits]
    return table(("paper", "year", "title", "move", "text"), rows)


def papers(items: Iterable[Annotated], framework: Framework) -> str:
    """One line for each paper."""
    rows = []
    for item in items:
        moves = {name: item.record[name] for name in framework.names}
        stated = f"{len(framework.stated(moves))} of {len(moves)}"
        paper = item.paper
        rows.append((paper.id, paper.year, paper.categories, stated, paper.title))
    return table(("paper", "year", "categories", "stated", "title"), rows)


def statistics(stats: Stats) -> str:
    """All of it in tables; shares are percent, with their 95% interval."""
    blocks = [_totals(stats)]
    if stats.annotations:
        blocks += [
            _moves(stats),
            _groups("category", stats.categories),
            _groups("year", stats.years),
        ]
    if stats.failures:
        blocks.append(table(("failed", "papers"), list(stats.failures.items())))
    return "\n\n".join(blocks)


def kept(found: Sequence[Kept]) -> str:
    """Papers in full."""
    return "\n\n\n".join(map(_kept, found))


def kept_as_dict(found: Kept) -> dict[str, Any]:
    """A paper for JSON: what is known of it, its annotations' records, and its failure."""
    paper, failure = found.paper, found.failure
    return {
        "row": found.row_id,
        paper.id_field: paper.id,
        "title": paper.title,
        "authors": paper.authors,
        "published": paper.published,
        "categories": paper.categories,
        "abstract": paper.abstract,
        "annotations": [item.record for item in found.annotations],
        "failure": None if failure is None else _failure_as_dict(failure),
    }


def verified(checked: int, wrong: Sequence[Wrong]) -> str:
    """How many agree, and those that do not."""
    if not wrong:
        return f"{_count(checked, 'annotation')} checked: all agree with their keys."
    rows = [(one.annotation, one.paper, "; ".join(one.reasons)) for one in wrong]
    return "\n".join(
        (
            f"{_count(checked, 'annotation')} checked, {len(wrong):,} of them wrong:",
            table(("annotation", "paper", "what is wrong"), rows),
        )
    )


def _totals(stats: Stats) -> str:
    models = ", ".join(f"{name} {count:,}" for name, count in stats.models.items())
    text = f"{_count(stats.papers, 'paper')}, {_count(stats.annotations, 'annotation')}"
    text += f" by the framework {stats.framework}" + (f" (by {models})" if models else "")
    return f"{text}\n{_LEGEND}" if stats.annotations else text


def _moves(stats: Stats) -> str:
    rows = [
        (
            move.move,
            _percent(move.stated),
            "" if move.support is None else f"{move.support:.2f}",
            _percent(move.numbers),
            _percent(move.names),
        )
        for move in stats.moves
    ]
    return table(("move", "stated", "support", "numbers amiss", "names amiss"), rows)


def _groups(what: str, groups: Sequence[Group]) -> str:
    names = list(groups[0].stated)
    rows = [
        (group.name, f"{group.papers:,}", *(_percent(group.stated[name]) for name in names))
        for group in groups
    ]
    return table((what, "papers", *names), rows)


def _percent(share: Share) -> str:
    """ "85 (81-88)", or "" where there is nothing to have a share of."""
    if share.value is None:
        return ""
    low, high = share.interval
    return f"{share.value * 100:.0f} ({low * 100:.0f}-{high * 100:.0f})"


def _kept(found: Kept) -> str:
    paper = found.paper
    about = (paper.authors, paper.published[:10], paper.categories)
    blocks = [
        "\n".join(
            filter(
                None,
                (
                    f"{paper.id_field} {paper.id} (paper {found.row_id})",
                    *_wrapped(paper.title),
                    *_wrapped("; ".join(part for part in about if part)),
                ),
            )
        ),
        "\n".join(_wrapped(paper.abstract)),
        *(_annotation(item) for item in found.annotations),
    ]
    if found.failure is not None:
        blocks.append(f"Its annotation failed: {found.failure.reason}")
    elif not found.annotations:
        blocks.append("It has no annotation.")
    return "\n\n".join(blocks)


def _annotation(item: Annotated) -> str:
    record = item.record
    provenance, checks = record["provenance"], record["checks"]
    moves = {name: text for name, text in record.items() if name not in RESERVED}
    column = max(map(len, moves)) + 2
    lines = []
    for name, text in moves.items():
        lines += _wrapped(f"{name:<{column}}{text}", " " * column)
    for what in ("numbers", "names"):
        for name, found in checks[f"unsupported_{what}"].items():
            lines.append(f"! {name}: {what} that the abstract does not hold: {', '.join(found)}")
    framework = provenance["framework"]["name"]
    return "\n".join([*lines, f"({provenance['resolved']}, {provenance['created']}, {framework})"])


def _failure_as_dict(failure: Failure) -> dict[str, Any]:
    return {
        "error_type": failure.error_type,
        "reason": failure.reason,
        "retryable": failure.retryable,
        "raw_reply": failure.raw_reply,
    }


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
