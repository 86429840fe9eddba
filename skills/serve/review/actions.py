"""What the forms of a paper's page do: each action is a POST that also works without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.errors import UsageError
from skills.curate.review.form import of_selection, selected
from skills.curate.review.reviewer import Desk
from skills.serve.review.room import Seat

Fields = Mapping[str, str]
Act = Callable[[Desk, int, Fields], str]
"""Performs an action on a paper, and returns what it did; "" if nothing."""


def perform(seat: Seat, at: int, fields: Fields) -> bool:
    """Perform the action of a form; return True if the next paper is to be shown.

    Raises:
        UsageError: there is no such action or move, or it is refused.
        Taken: another reviewer has the paper, or it is decided.
    """
    name = fields.get("act", "")
    if name in _ON_PAPER:
        seat.notice = _ON_PAPER[name](seat.desk, at, fields)
        return True
    if name not in _ON_MOVE or fields.get("move") not in seat.desk.framework.names:
        raise UsageError("there is no such action")
    seat.notice = _ON_MOVE[name](seat.desk, at, fields)
    return False


def save_draft(desk: Desk, at: int, fields: Fields) -> None:
    """Store the text that is being edited, or forget it.

    Raises:
        UsageError: there is no such move, or the text is too long.
    """
    text = None if fields.get("forget") else fields.get("text", "")
    if fields.get("move") not in desk.framework.names or len(text or "") > _LONGEST:
        raise UsageError("this text cannot be stored")
    desk.draft(at, fields["move"], text)


_LONGEST = 20_000
"""Characters of a draft; no move may have as many."""


def _accept(desk: Desk, at: int, _: Fields) -> str:
    desk.accept(at)
    return f"Accepted {_named(desk, at)}."


def _reject(desk: Desk, at: int, fields: Fields) -> str:
    desk.reject(at, " ".join(fields.get("reason", "").split()))
    return f"Rejected {_named(desk, at)}."


def _skip(desk: Desk, at: int, _: Fields) -> str:
    desk.skip(at)
    return f"Skipped {_named(desk, at)}."


def _edit(desk: Desk, at: int, fields: Fields) -> str:
    label = desk.framework.labels[fields["move"]]
    is_new = desk.edit(at, fields["move"], fields.get("text", ""))
    return f"{label} is stored." if is_new else f"{label} is as it was."


def _not_stated(desk: Desk, at: int, fields: Fields) -> str:
    desk.not_stated(at, fields["move"])
    return f"{desk.framework.labels[fields['move']]} is not stated."


def _use_suggestion(desk: Desk, at: int, fields: Fields) -> str:
    label = desk.framework.labels[fields["move"]]
    is_new = desk.use_suggestion(at, fields["move"])
    return f"{label} is the suggestion." if is_new else f"{label} has no suggestion."


def _original(desk: Desk, at: int, fields: Fields) -> str:
    desk.edit(at, fields["move"], desk.papers.items[at].moves[fields["move"]])
    return f"{desk.framework.labels[fields['move']]} is the text under review again."


def _anchor(desk: Desk, at: int, fields: Fields) -> str:
    """Use the selection of the page if there is one, else what was typed."""
    abstract, chosen = desk.papers.items[at].paper.abstract, fields.get("selected", "")
    before = fields.get("before", "")
    if chosen.strip():
        place = int(before) if before.isdecimal() and len(before) < 10 else -1
        spans = of_selection(abstract, chosen, place)
    else:
        spans = selected(abstract, fields.get("passage", ""))
    desk.anchor(at, fields["move"], spans)
    return f"The passage of {desk.framework.labels[fields['move']]} is stored."


def _named(desk: Desk, at: int) -> str:
    return desk.papers.items[at].paper.id


_ON_PAPER: Mapping[str, Act] = {"accept": _accept, "reject": _reject, "skip": _skip}
_ON_MOVE: Mapping[str, Act] = {
    "edit": _edit,
    "not-stated": _not_stated,
    "suggestion": _use_suggestion,
    "original": _original,
    "anchor": _anchor,
}
