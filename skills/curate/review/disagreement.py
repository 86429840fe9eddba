"""Find and settle disagreements of reviewers, and compute figures of agreement."""

from __future__ import annotations

import bisect
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from harness.errors import UsageError
from skills.curate.items import Item
from skills.curate.outputs import Agreed, AgreedPassages
from skills.curate.review.candidates import Candidates
from skills.curate.review.decision_log import Decision, ReviewLog, Spans, by_reviewer
from skills.curate.review.form import anchors_in, merged
from skills.curate.review.reviewer import Desk
from skills.nanda.framework import Framework, Move
from skills.reporting.annotation_view import Piece, word_diff
from skills.reporting.intervals import Share
from skills.reporting.statistics import alpha, paired_kappa, rounded

By = Mapping[str, Decision]
"""The decision of each reviewer on a paper, by the name of the reviewer."""
Unit = Sequence[int]
"""The start and the end of a passage of a text, in characters."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Row:
    """A move of a disputed paper, with the text of each reviewer.

    Attributes:
        number: the number of the move, from 1.
        texts: the text of each reviewer, in the order of the names of the reviewers.
        chosen: the text that was chosen for the move; None if no text is chosen yet.
    """

    number: int
    move: Move
    texts: tuple[str, ...]
    chosen: str | None

    @property
    def differs(self) -> bool:
        return len(set(self.texts)) > 1

    @property
    def place(self) -> int | None:
        """The index of the first reviewer with the chosen text; None without such a reviewer."""
        return next((at for at, text in enumerate(self.texts) if text == self.chosen), None)

    def side(self, place: int) -> list[Piece]:
        """Return the text of a reviewer, divided into pieces, to show the differences.

        With two reviewers, words that the other text lacks are pieces of the kind "added", and
        other words are "same". With more reviewers, the text is one piece of the kind "same".

        Args:
            place: the index of the reviewer.
        """
        text = self.texts[place]
        if len(self.texts) != 2:
            return [Piece("same", text)]
        return [one for one in word_diff(self.texts[1 - place], text) if one.kind != "removed"]


@dataclass(frozen=True, slots=True)
class Dispute:
    """A paper on which reviewers disagree.

    Attributes:
        decisions: the decision of each reviewer, in the order of the names of the reviewers.
        rows: a row for each move, in the order of the framework.
    """

    decisions: tuple[Decision, ...]
    rows: tuple[Row, ...]

    @property
    def to_choose(self) -> Row | None:
        """The first move that differs and for which no text is chosen; None without such a move."""
        return next((row for row in self.rows if row.differs and row.chosen is None), None)

    @property
    def choices(self) -> dict[str, str]:
        """The texts that were chosen, by move."""
        return {row.move.name: row.chosen for row in self.rows if row.chosen is not None}

    def settled(self, choices: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Spans]]:
        """Return the final text of each move, and the passages that reviewers selected for it.

        A move without a choice has the text on which the reviewers agree. The passages come from
        the first reviewer with the final text who selected passages for the move.

        Args:
            choices: the chosen texts by move, at least for the moves on which reviewers disagree.

        Raises:
            UsageError: reviewers disagree on a move, and no text is chosen for it.
        """
        moves, anchors = {}, {}
        for row in self.rows:
            name = row.move.name
            if row.differs and name not in choices:
                raise UsageError(f"Not accepted: no text of {row.move.label} is chosen.")
            moves[name] = choices.get(name, row.texts[0])
            same = (one.anchors for one in self.decisions if one.moves[name] == moves[name])
            if taken := next((one for one in same if name in one), None):
                anchors[name] = taken[name]
        return moves, anchors


def dispute_at(desk: Desk, at: int) -> Dispute | None:
    """Return the disagreement about a paper, or None if the paper is not disputed."""
    item = desk.papers[at]
    if desk.log.status(item) != "disputed":
        return None
    decisions = decided_by_each(desk, item)
    undone, chosen = desk.log.draft(item, desk.reviewer), dict[str, str]()
    if undone is not None and undone.resolves and undone.what == "accept":
        chosen |= undone.moves
    chosen |= desk.drafts(at)
    rows = (
        Row(number, move, tuple(one.moves[move.name] for one in decisions), chosen.get(move.name))
        for number, move in enumerate(desk.framework.moves, start=1)
    )
    return Dispute(decisions, tuple(rows))


def decided_by_each(desk: Desk, item: Item) -> tuple[Decision, ...]:
    """Return the decision of each reviewer on a paper, in the order of the reviewers' names.

    A decision that settles a disagreement is left out.
    """
    return tuple(one for _, one in sorted(by_reviewer(desk.log.decisions(item)).items()))


def outline(decision: Decision) -> str:
    """Return a decision in words, such as "ada accepted, 2 edited"."""
    name = decision.reviewer or "(no name)"
    if decision.what == "reject":
        return f"{name} rejected"
    edits = f", {len(decision.changed)} edited" if decision.changed else ""
    return f"{name} accepted{edits}"


def rated(papers: Candidates, log: ReviewLog) -> list[By]:
    """Return the decisions on each paper that at least two reviewers have decided on."""
    found = (by_reviewer(log.decisions(item)) for item in papers.known(log.known()))
    return [one for one in found if len(one) > 1]


def agreement(decided: Sequence[By], framework: Framework) -> list[Agreed]:
    """Return the agreement about whole annotations, then about each move.

    Only accepted annotations count in the agreement about a move, since a rejection does not show
    which moves are right.
    """

    def kept(one: Decision, move: str) -> bool | None:
        return None if one.what == "reject" else move not in one.changed

    def stated(one: Decision, move: str) -> bool | None:
        return None if one.what == "reject" else one.moves[move] != framework.not_stated

    found = [_agreed(decided, "Annotation", "accepted", lambda one: one.what == "accept")]
    for move in framework.moves:
        for judged, judge in (("kept", kept), ("stated", stated)):
            found.append(_agreed(decided, move.label, judged, partial(judge, move=move.name)))
    return found


def _agreed(
    decided: Sequence[By], what: str, judged: str, judge: Callable[[Decision], bool | None]
) -> Agreed:
    """Return the agreement of reviewers in one judgement.

    For each paper, kappa compares the first two reviewers by name whose decisions contain the
    judgement. With only two reviewers in total, the value is Cohen's kappa. Alpha compares all
    reviewers.

    Args:
        judge: returns the judgement that a decision contains, or None without a judgement.
    """
    names = sorted({name for one in decided for name in one})
    table = [[judge(one[name]) if name in one else None for name in names] for one in decided]
    valid = [[value for value in row if value is not None] for row in table]
    valid = [values for values in valid if len(values) > 1]
    return Agreed(
        what=what,
        judged=judged,
        same=Share(sum(len(set(values)) == 1 for values in valid), len(valid)),
        kappa=paired_kappa([(values[0], values[1]) for values in valid]),
        alpha=alpha(table),
    )


def passage_agreement(
    papers: Candidates, log: ReviewLog, framework: Framework
) -> list[AgreedPassages]:
    """Return the agreement in the passages of all moves, then of each move.

    For each paper, the reviewers who accepted the annotation are sorted by name, and the first two
    are compared. The passages of a move are the reviewer's selection or, without a selection, the
    passages that `anchors_in` finds.
    """
    units: dict[str, tuple[list[Unit], list[Unit]]] = {name: ([], []) for name in framework.names}
    words: defaultdict[str, dict[str, tuple[int, int]]] = defaultdict(dict)  # by move and paper
    length = 0  # of all previous abstracts, since all abstracts together count as one text
    for item in papers.known(log.known()):
        by, abstract = by_reviewer(log.decisions(item)), item.paper.abstract
        accepted = [one for _, one in sorted(by.items()) if one.what == "accept"][:2]
        if len(accepted) < 2:
            continue
        anchors = [anchors_in(item, framework, one.moves, one.anchors) for one in accepted]
        for name in framework.names:
            sides = [merged(one[name]["spans"]) if name in one else [] for one in anchors]
            for own, found in zip(units[name], sides, strict=True):
                own += [(begin + length, end + length) for begin, end in found]
            one, other = (_words(abstract, found) for found in sides)
            if one or other:
                words[name][item.key] = 2 * len(one & other), len(one) + len(other)
        length += len(abstract)
    figures = {name: disagreements(own, length) for name, own in units.items()}
    labels = {"All moves": framework.names, **{one.label: (one.name,) for one in framework.moves}}
    rows = []
    for label, names in labels.items():
        common, both = (sum(pair[at] for n in names for pair in words[n].values()) for at in (0, 1))
        observed, expected = (sum(figures[name][at] for name in names) for at in (0, 1))
        rows.append(
            AgreedPassages(
                what=label,
                papers=len({paper for name in names for paper in words[name]}),
                f1=rounded(common / both if both else None),
                alpha=rounded(1 - observed / expected if expected else None),
            )
        )
    return rows


def _words(abstract: str, spans: Sequence[Unit]) -> set[int]:
    """Return the starts, in characters, of the words in an abstract that overlap a span."""
    found = [word.span() for word in _WORD.finditer(abstract)] if spans else []
    return {start for start, end in found if _overlapping(start, end, spans)}


def disagreements(observers: Sequence[Sequence[Unit]], length: int) -> tuple[float, float]:
    """Return the observed and the expected disagreement of observers who mark units of a text.

    Alpha is 1 - observed / expected (Krippendorff 1995, "On the Reliability of Unitizing Continuous
    Data"). The distance of two overlapping units is the sum of the squared differences of their
    starts and of their ends. The distance between a unit and a gap that contains it is the squared
    length of the unit. The expected disagreement is the disagreement if the same units and gaps
    were at random places. Both disagreements are 0 if no observer marks a unit.

    Args:
        observers: the units of each observer, in order; units of an observer do not overlap.
        length: the length of the text in characters.
    """
    if not any(observers):
        return 0.0, 0.0
    count = len(observers)
    distances = 0
    for one, other in itertools.permutations(observers, 2):
        for begin, end in one:
            near = _overlapping(begin, end, other)
            distances += sum((begin - first) ** 2 + (end - last) ** 2 for first, last in near)
            distances += 2 * (end - begin) ** 2 * (not near)  # (unit, gap) and (gap, unit)
    observed = distances / (count * (count - 1) * length**2)
    units = [end - begin for own in observers for begin, end in own]
    edges = ([0, *itertools.chain(*own), length] for own in observers)
    gaps = sorted(end - begin for own in edges for begin, end in zip(*[iter(own)] * 2, strict=True))
    sums = [0, *itertools.accumulate(gaps)]
    expected = 0.0
    for unit in units:
        first = bisect.bisect_left(gaps, unit)
        places = sums[-1] - sums[first] - (unit - 1) * (len(gaps) - first)
        expected += (len(units) - 1) / 3 * (2 * unit**3 - 3 * unit**2 + unit) + unit**2 * places
    total = count * length
    pairs = total * (total - 1) - sum(unit * (unit - 1) for unit in units)
    return observed, 2 / length * expected / pairs


def _overlapping(begin: int, end: int, units: Sequence[Unit]) -> Sequence[Unit]:
    first = bisect.bisect_right(units, begin, key=lambda unit: unit[1])
    return units[first : bisect.bisect_left(units, end, key=lambda unit: unit[0])]
