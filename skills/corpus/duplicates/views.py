"""Render what was merged, linked and split as text and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.terminal.rendering import table
from skills.corpus.db.reads import StoredPaper
from skills.corpus.db.works.duplicates import Pair, Side

RELATIONS = {"same": "merged", "linked": "linked", "split": "split"}


def pair_json(pair: Pair) -> dict[str, Any]:
    """Return a pair with its relation as the reports name it."""
    return {**asdict(pair), "relation": RELATIONS[pair.relation]}


def pairs(found: Sequence[Pair]) -> str:
    """Return one line per pair."""
    rows = [
        (RELATIONS[one.relation], *map(_side, (one.paper, one.other)), one.rule, one.evidence)
        for one in found
    ]
    return table(("", "paper", "and", "rule", "evidence"), rows)


def other_sources(found: StoredPaper) -> list[str]:
    """Return a line with the other identifiers, and one for each merged or linked row."""
    other = [f"{kind} {value}" for kind, value in found.identifiers.items()]
    lines = [", ".join(one for one in other if not one.endswith(f" {found.paper.id}"))]
    for pair in found.pairs:
        side = pair.other if pair.paper.row == found.row_id else pair.paper
        why = f": {pair.rule} ({pair.evidence})" if pair.rule else ""
        preposition = "from" if pair.relation == "split" else "with"
        lines.append(f"{RELATIONS[pair.relation].title()} {preposition} {_side(side)}{why}")
    return list(filter(None, lines))


def _side(side: Side) -> str:
    return f"{side.id} (paper {side.row})"
