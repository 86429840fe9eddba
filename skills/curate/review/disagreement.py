"""Find and settle disagreements of reviewers, and compute figures of agreement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from harness.errors import UsageError
from skills.curate.items import Item
from skills.curate.outputs import Agreed
from skills.curate.review.candidates import Candidates
from skills.curate.review.decision_log import Decision, ReviewLog, Spans, by_reviewer
from skills.curate.review.reviewer import Desk
from skills.nanda.framework import Framework, Move
from skills.reporting.annotation_view import Piece, word_diff
from skills.reporting.outputs import Share
from skills.reporting.statistics import alpha, paired_kappa

Choice = int | str
"""The choice for a move: the index of the reviewer whose text is used, or another text."""
By = Mapping[str, Decision]
"""The decision of each reviewer on a paper."""


@dataclass(frozen=True, slots=True)
class Row:
    """A move of a disagreement, with the text of each reviewer.

    Attributes:
        number: the number of the move, from 1.
        texts: the text of each reviewer, in the order of their names.
        chosen: the choice for the move, or None.
    """

    number: int
    move: Move
    texts: tuple[str, ...]
    chosen: Choice | None

    @property
    def differs(self) -> bool:
        return len(set(self.texts)) > 1

    @property
    def chosen_text(self) -> str:
        """The chosen text, or ""."""
        if self.chosen is None or isinstance(self.chosen, str):
            return self.chosen or ""
        return self.texts[self.chosen]

    def side(self, place: int) -> list[Piece]:
        """Return the text of a reviewer, in which words that the other text lacks are "added"."""
        text = self.texts[place]
        if len(self.texts) != 2:
            return [Piece("same", text)]
        return [one for one in word_diff(self.texts[1 - place], text) if one.kind != "removed"]


@dataclass(frozen=True, slots=True)
class Dispute:
    """A paper on which reviewers disagree.

    Attributes:
        decisions: the decision of each reviewer, in the order of their names.
        rows: the texts of each move.
    """

    decisions: tuple[Decision, ...]
    rows: tuple[Row, ...]

    @property
    def to_choose(self) -> Row | None:
        """The first move that differs and for which no text is chosen."""
        return next((row for row in self.rows if row.differs and row.chosen is None), None)

    @property
    def choices(self) -> dict[str, Choice]:
        """The choices that were made, by move."""
        return {row.move.name: row.chosen for row in self.rows if row.chosen is not None}

    def settled(self, choices: Mapping[str, Choice]) -> tuple[dict[str, str], dict[str, Spans]]:
        """Return the chosen texts of the moves, and the passages that belong to them.

        Args:
            choices: the choice of each move on which reviewers disagree.

        Raises:
            UsageError: a move has no chosen text.
        """
        moves, anchors = {}, {}
        for row in self.rows:
            name = row.move.name
            choice = choices.get(name)
            if choice is None and row.differs:
                raise UsageError(f"Not accepted: no text of {row.move.label} is chosen.")
            if isinstance(choice, str):
                moves[name] = choice
                continue
            decision = self.decisions[choice or 0]
            moves[name] = decision.moves[name]
            if name in decision.anchors:
                anchors[name] = decision.anchors[name]
        return moves, anchors


def dispute_at(desk: Desk, at: int) -> Dispute | None:
    """Return the disagreement about a paper, or None if reviewers agree."""
    item = desk.papers.items[at]
    if desk.log.status(item) != "disputed":
        return None
    decisions = decided_by_each(desk, item)
    undone, chosen = desk.log.draft(item, desk.reviewer), dict[str, str]()
    if undone is not None and undone.resolves and undone.what == "accept":
        chosen |= undone.moves
    chosen |= desk.drafts(at)
    rows = []
    for number, move in enumerate(desk.framework.moves, start=1):
        texts = tuple(one.moves[move.name] for one in decisions)
        rows.append(Row(number, move, texts, _choice(texts, chosen.get(move.name))))
    return Dispute(decisions, tuple(rows))


def decided_by_each(desk: Desk, item: Item) -> tuple[Decision, ...]:
    """Return the decision of each reviewer on a paper, in the order of their names."""
    return tuple(one for _, one in sorted(by_reviewer(desk.log.decisions(item)).items()))


def outline(decision: Decision) -> str:
    """Return a decision in words, such as "ada accepted, 2 edited"."""
    name = decision.reviewer or "(no name)"
    if decision.what == "reject":
        return f"{name} rejected"
    edits = f", {len(decision.changed)} edited" if decision.changed else ""
    return f"{name} accepted{edits}"


def _choice(texts: tuple[str, ...], chosen: str | None) -> Choice | None:
    """Return the index of the reviewer whose text was chosen, or the text if it is another one."""
    if chosen is None:
        return None
    return texts.index(chosen) if chosen in texts else chosen


def rated(papers: Candidates, log: ReviewLog) -> list[By]:
    """Return the decisions on each paper with decisions of at least two reviewers."""
    found = (by_reviewer(log.decisions(item)) for item in papers.known(log.known()))
    return [one for one in found if len(one) > 1]


def agreement(decided: Sequence[By], framework: Framework) -> list[Agreed]:
    """Return the agreement about whole annotations, then about each move.

    A rejection does not show which moves are right, so that it counts only in the agreement about
    whole annotations.
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

    Kappa compares the first two reviewers of each paper, in the order of their names; with two
    reviewers it is Cohen's kappa. Alpha compares all reviewers.

    Args:
        judge: returns the judgement that a decision contains, or None.
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
