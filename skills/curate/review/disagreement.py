"""What reviewers judge differently about a paper, side by side, and the moves that settle it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from skills.curate.items import Item
from skills.curate.review.candidates import Candidates
from skills.curate.review.decision import Decision, Spans, by_reviewer
from skills.curate.review.decision_log import ReviewLog
from skills.curate.review.reviewer import Desk
from skills.nanda.framework import Framework, Move
from skills.reporting.annotation_view import Piece, word_diff
from skills.reporting.statistics import Share, alpha, kappa, rounded

Choice = int | str
"""The place of the reviewer whose text of a move is chosen, or another text."""


@dataclass(frozen=True, slots=True)
class Row:
    """A move as each reviewer left it.

    Attributes:
        number: from 1.
        texts: one for each reviewer, in the order of their names.
        chosen: what was chosen so far; None if nothing was.
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
        """The text that was chosen; "" if none was."""
        if self.chosen is None or isinstance(self.chosen, str):
            return self.chosen or ""
        return self.texts[self.chosen]

    def side(self, place: int) -> list[Piece]:
        """Return the text of a reviewer; of two, what only this one has is "added"."""
        text = self.texts[place]
        if len(self.texts) != 2:
            return [Piece("same", text)]
        return [one for one in word_diff(self.texts[1 - place], text) if one.kind != "removed"]


@dataclass(frozen=True, slots=True)
class Dispute:
    """A paper that reviewers judge differently.

    Attributes:
        decisions: one of each reviewer, in the order of their names.
        rows: one for each move.
    """

    decisions: tuple[Decision, ...]
    rows: tuple[Row, ...]

    @property
    def to_choose(self) -> Row | None:
        """The first move that differs and for which no text is chosen."""
        return next((row for row in self.rows if row.differs and row.chosen is None), None)

    @property
    def choices(self) -> dict[str, Choice]:
        """What was chosen so far, by move."""
        return {row.move.name: row.chosen for row in self.rows if row.chosen is not None}

    def settled(self, choices: Mapping[str, Choice]) -> tuple[dict[str, str], dict[str, Spans]]:
        """Return the moves as chosen, with the passages that belong to the texts.

        Args:
            choices: by move; of a move that reviewers have alike, none is needed.

        Raises:
            UsageError: no text of a move is chosen.
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
    """Return the disagreement about a paper, None if there is none."""
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
    """Return who decided what, such as "ada accepted, 2 edited"."""
    name = decision.reviewer or "(no name)"
    if decision.what == "reject":
        return f"{name} rejected"
    edits = f", {len(decision.changed)} edited" if decision.changed else ""
    return f"{name} accepted{edits}"


def _choice(texts: tuple[str, ...], chosen: str | None) -> Choice | None:
    """Return whose text was chosen, or the text if it is nobody's."""
    if chosen is None:
        return None
    return texts.index(chosen) if chosen in texts else chosen


By = Mapping[str, Decision]
"""The decision of each reviewer on a paper."""
Judgement = Callable[[Decision], bool | None]
"""What a reviewer judged; None if the decision does not show it."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """Agreement in one judgement.

    Attributes:
        what: the judgement, for people: "accepted", or the label of a move.
        judged: "accepted"; "kept", whether a move is right as it was; or "stated".
        same: papers on which all reviewers judge alike.
        kappa, alpha: as in `skills.reporting.statistics`.
    """

    what: str
    judged: str
    same: Share
    kappa: Mapping[str, Any]
    alpha: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, with rounded figures."""
        return {
            "what": self.what,
            "judged": self.judged,
            "same": self.same.as_dict(),
            **{
                name: {
                    key: rounded(value) if isinstance(value, float) else value
                    for key, value in found.items()
                }
                for name, found in (("kappa", self.kappa), ("alpha", self.alpha))
            },
        }


def rated(papers: Candidates, log: ReviewLog) -> list[By]:
    """Return the decisions on each paper that two reviewers or more decided on."""
    found = (by_reviewer(log.decisions(item)) for item in papers.known(log.known()))
    return [one for one in found if len(one) > 1]


def agreement(decided: Sequence[By], framework: Framework) -> list[Agreed]:
    """Return the agreement about whole annotations, then about each move.

    Of a rejected annotation it is not known which moves are right, so that it counts for the first
    only.
    """
    found = [_agreed(decided, "Annotation", "accepted", lambda one: one.what == "accept")]
    for move in framework.moves:
        found.append(_agreed(decided, move.label, "kept", _kept(move.name)))
        stated = _stated(move.name, framework.not_stated)
        found.append(_agreed(decided, move.label, "stated", stated))
    return found


def _kept(move: str) -> Judgement:
    return lambda one: None if one.what == "reject" else move not in one.changed


def _stated(move: str, not_stated: str) -> Judgement:
    return lambda one: None if one.what == "reject" else one.moves[move] != not_stated


def _agreed(decided: Sequence[By], what: str, judged: str, judgement: Judgement) -> Agreed:
    """Return the agreement in one judgement.

    Kappa is that of the first two reviewers of each paper in the order of their names: of two
    reviewers it is Cohen's. Alpha counts all of them.
    """
    names = sorted({name for one in decided for name in one})
    rows = [{name: judgement(one[name]) for name in sorted(one)} for one in decided]
    valid = [[value for value in row.values() if value is not None] for row in rows]
    valid = [values for values in valid if len(values) > 1]
    table = [[_number(row.get(name)) for name in names] for row in rows]
    return Agreed(
        what,
        judged,
        Share(sum(len(set(values)) == 1 for values in valid), len(valid)),
        kappa([(values[0], values[1]) for values in valid]),
        alpha(table),
    )


def _number(value: bool | None) -> float | None:
    return None if value is None else float(value)
