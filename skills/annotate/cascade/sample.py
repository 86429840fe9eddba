"""How many anchors of a cascade are right, by a sample of its papers with gold.

A move counts if the annotation and the gold state it; its anchor is right if it has a sentence of
the gold's, which is found by lexical alignment, as in /evaluate. A paper's share is that of its
moves with the right anchor, 0 if no move counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.errors import InputError
from harness.support.reading.text_input import shown
from skills.annotate.cascade.bound import RISK, lower_bound
from skills.annotate.table.sources import Papers
from skills.corpus.records import Annotated
from skills.corpus.tables.reader import open_table
from skills.nanda.anchors.lexical import lexical_anchors
from skills.nanda.anchors.stored import read_anchors
from skills.nanda.framework import Framework

NOT_GUARANTEED = "right anchors: nothing is guaranteed without --sample"
METHOD = "lower bound by betting without replacement, arXiv 2010.09686"


@dataclass(frozen=True, slots=True)
class Sample:
    """Gold of some papers.

    Attributes:
        moves: by SHA-256 of the abstract.
    """

    path: Path
    framework: Framework
    moves: Mapping[str, Mapping[str, str]]

    def bound(self, items: Iterable[Annotated]) -> dict[str, Any]:
        """Return the mean share of right anchors in the sample, and its bound for all `items`.

        Returns:
            sample, papers, of: the file, how many papers of it there are, and how many in all.
            share, least: the mean share in the sample; the bound for all, which holds with the
            probability `probability`, by `method`.
        """
        known, count = [], 0
        for item in items:
            count += 1
            if item.paper.sha256 in self.moves:
                known.append(item)
        # The order of the bets must not depend on the shares; that of a file may.
        known.sort(key=lambda item: item.paper.sha256)
        shares = [
            share_right(item, self.moves[item.paper.sha256], self.framework) for item in known
        ]
        return {
            "sample": str(self.path),
            "papers": len(shares),
            "of": count,
            "share": round(fmean(shares), 3) if shares else None,
            "least": math.floor(1000 * lower_bound(shares, count) + 1e-6) / 1000,
            "probability": 1 - RISK,
            "method": METHOD,
        }


def read_sample(path: Path, framework: Framework, papers: Papers) -> Sample:
    """Read gold of some of `papers`; rows about others are left out.

    Raises:
        InputError: the table cannot be read, or has gold of none of them.
    """
    table = open_table(path, moves=framework.names)
    table.require_moves()
    given = {row.paper.sha256: row for row in table.rows() if row.has_moves}
    present = {paper.sha256 for paper in papers if paper.sha256 in given}
    if not present:
        raise InputError(
            "has gold of none of these papers",
            where=shown(path),
            hint="A sample consists of papers of the table, drawn at random: "
            "`/curate TABLE --review` makes their gold.",
        )
    moves = {digest: given[digest].valid_moves(framework) for digest in present}
    return Sample(path, framework, moves)


def share_right(item: Annotated, gold: Mapping[str, str], framework: Framework) -> float:
    """Return the share of right anchors among the moves of a paper that count; see the module."""
    abstract, record = item.paper.abstract, item.record
    moves = framework.stated({name: record[name] for name in framework.names})
    given = read_anchors(abstract, moves, record.get("anchors"))
    expected = lexical_anchors(abstract, framework.stated(gold))
    right = [
        not {*one["sentences"]}.isdisjoint(expected[name]["sentences"])
        for name, one in given.items()
        if name in expected and expected[name]["sentences"]
    ]
    return fmean(right) if right else 0.0


def in_words(found: Mapping[str, Any]) -> str:
    """Return the bound as one line."""
    if not found["papers"]:
        return f"right anchors: nothing is known, since no paper of {found['sample']} is done"
    return (
        f"right anchors: {found['share']:.1%} of the moves of a paper, on average over "
        f"{found['papers']:,} papers of {found['sample']}; at least {found['least']:.1%} over all "
        f"{found['of']:,} with {found['probability']:.0%} probability, if those are a random "
        f"sample of them ({found['method']})"
    )
