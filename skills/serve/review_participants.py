"""The participants of a review (browsers with the name of a reviewer), and their actions."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast, get_args

from starlette.requests import Request

from harness.errors import UsageError
from skills.corpus.tables.columns import Columns
from skills.curate.review.candidates import Candidates, read
from skills.curate.review.form import of_selection, selected
from skills.curate.review.leases import MINUTES
from skills.curate.review.reviewer import Desk, highlights_in, name_lock
from skills.curate.review.rounds import Order
from skills.serve.guard import Session
from skills.serve.pages import State

LONGEST_DRAFT = 20_000
"""Maximum number of characters of a draft; every move is shorter."""
PARTICIPANT, LOST = "review", "review taken over"
"""Keys in a `Session`: the participant, and the name that another browser took over."""


class NameInUse(UsageError):
    """Raised if another browser reviews under this name."""


@dataclass(slots=True)
class Participant:
    """A browser that takes part in a review.

    Attributes:
        desk: the reviewer's queue and decisions.
        choice: the values that the reviewer entered in the form.
        lock: held during a request, so that the requests of a browser are handled one by one.
        notice: the result of the last action, for the next page.
        papers: number of papers that the last shown share of right moves covers.
        used: the time of the last request, from `time.monotonic`.
    """

    desk: Desk
    choice: dict[str, str]
    lock: threading.RLock = field(default_factory=threading.RLock)
    notice: str = ""
    papers: int = 0
    used: float = field(default_factory=time.monotonic)

    @property
    def minutes(self) -> int:
        """Minutes since the last request."""
        return int((time.monotonic() - self.used) / 60)


class Participants:
    """The participants of a review, and the annotations under review."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._named: dict[str, Session] = {}
        self._papers: Candidates | None = None
        self._version = ""
        self._overview: Participant | None = None

    def join(self, request: Request, choice: dict[str, str], *, take_over: bool = False) -> None:
        """Make a browser a participant of the review, and turn highlights in Zotero into edits.

        Args:
            choice: the values of the form fields name, words, where, sample, seed and order.
            take_over: True to take over a name that another browser uses.

        Raises:
            NameInUse: another browser has used this name within the duration of a lease, and
                `take_over` is False.
            UsageError: a field is invalid, or a reviewer in a terminal uses this name.
            InputError, OutputError: there is no annotation to review, or the review cannot be
                stored.
        """
        reviewer, order = " ".join(choice["name"].split()), choice["order"]
        if not reviewer or len(reviewer) > 80:
            raise UsageError("the name of a reviewer must have 1 to 80 characters")
        if order not in ("", *get_args(Order)):
            raise UsageError(f"unknown order {order!r}; choose from {', '.join(get_args(Order))}")
        queue, where, words = self._state.queue, choice["where"].strip(), choice["words"].strip()
        # raises an error if a reviewer in a terminal uses the name
        with self._lock, name_lock(queue.locks, queue.gold, reviewer):
            pass
        desk = queue.desk(
            self._read(where, words) if where or words else self.papers(),
            reviewer,
            sample=_number(choice["sample"], "The sample"),
            seed=_number(choice["seed"], "The seed") or 0,
            order=cast("Order", order) if order else None,
        )
        participant = Participant(desk, choice)
        self._add(request.state.session, participant, take_over)
        participant.notice = desk.take_over(highlights_in(queue.corpus))

    def _add(self, session: Session, participant: Participant, take_over: bool) -> None:
        name = participant.desk.reviewer
        with self._lock:
            before = self._named.get(name, session)
            other = None if before is session else before.get(PARTICIPANT)
            if other is not None and other.desk.reviewer == name:
                if other.minutes < MINUTES and not take_over:
                    raise NameInUse(f"{name} reviews in another browser")
                before[LOST] = name
                del before[PARTICIPANT]
            self._named[name] = session
            session[PARTICIPANT] = participant
            session.pop(LOST, None)

    def find(self, request: Request) -> Participant | None:
        """Return the participant in the browser that sent a request, or None."""
        participant: Participant | None = request.state.session.get(PARTICIPANT)
        return participant

    def lost(self, request: Request) -> str:
        """Return the name that another browser took over from the browser of a request, or ""."""
        return str(request.state.session.get(LOST, ""))

    @contextlib.contextmanager
    def overview(self) -> Iterator[Desk]:
        """Yield a desk without a reviewer, locked in the block, for pages about all reviewers."""
        papers = self.papers()
        with self._lock:
            if self._overview is None or self._overview.desk.papers is not papers:
                self._overview = Participant(self._state.queue.desk(papers), {})
            overview = self._overview
        with overview.lock:
            overview.desk.log.refresh()
            yield overview.desk

    def papers(self) -> Candidates:
        """Return the annotations under review, which are read again after a change."""
        with self._lock:
            version = self._current()
            if self._papers is None or version != self._version:
                self._papers, self._version = self._read(), version
            return self._papers

    def _read(self, where: str = "", words: str = "") -> Candidates:
        state = self._state
        return read(state.table, state.framework, Columns(), None, state.database, where, words)

    def _current(self) -> str:
        """Return a string that changes when the annotations under review change."""
        if not self._state.reviews_corpus:
            found = self._state.table.stat()
            return f"{found.st_mtime_ns} {found.st_size}"
        with self._state.corpus() as db:
            row = db.execute("SELECT count(*), max(id), sum(current) FROM annotations").fetchone()
        return " ".join(map(str, row))


def _number(text: str, what: str) -> int | None:
    if not text.strip():
        return None
    if not (text.strip().isdecimal() and len(text) < 10):
        raise UsageError(f"{what} is not a number: {text!r}")
    return int(text)


def perform(participant: Participant, at: int, fields: Mapping[str, str]) -> bool:
    """Perform the action that the form of a paper submits.

    Every action is a POST request that also works without JavaScript.

    Args:
        at: the index of the paper in the queue.
        fields: the form fields.

    Returns:
        True if the next paper is to be shown, False if the same paper is to be shown again.

    Raises:
        UsageError: the action or the move does not exist, or the action is refused.
        Taken: another reviewer has the paper, or the paper is already decided.
    """
    desk, act, move = participant.desk, fields.get("act", ""), fields.get("move", "")
    paper = desk.papers[at].paper.id
    if act == "accept":
        desk.accept(at)
        participant.notice = f"Accepted {paper}."
    elif act == "reject":
        desk.reject(at, " ".join(fields.get("reason", "").split()))
        participant.notice = f"Rejected {paper}."
    elif act == "skip":
        desk.skip(at)
        participant.notice = f"Skipped {paper}."
    elif move in desk.framework.names:
        participant.notice = (
            f"{desk.framework.labels[move]} {_change(desk, at, act, move, fields)}."
        )
        return False
    else:
        raise UsageError("there is no such action")
    return True


def _change(desk: Desk, at: int, act: str, move: str, fields: Mapping[str, str]) -> str:
    """Perform an action on a move, and return the result as a predicate, such as "is stored"."""
    item = desk.papers[at]
    if act == "edit":
        is_new = desk.edit(at, move, fields.get("text", ""))
        return "is stored" if is_new else "is as it was"
    if act == "not-stated":
        desk.not_stated(at, move)
        return "is not stated"
    if act == "suggestion":
        return "is the suggestion" if desk.use_suggestion(at, move) else "has no suggestion"
    if act == "original":
        desk.edit(at, move, item.moves[move])
        return "is the text under review again"
    if act != "anchor":
        raise UsageError("there is no such action")
    before, chosen = fields.get("before", ""), fields.get("selected", "")
    if chosen.strip():  # a selection on the page
        place = int(before) if before.isdecimal() and len(before) < 10 else -1
        spans = of_selection(item.paper.abstract, chosen, place)
    else:
        spans = selected(item.paper.abstract, fields.get("passage", ""))
    desk.anchor(at, move, spans)
    return "comes from that passage"


def save_draft(desk: Desk, at: int, fields: Mapping[str, str]) -> None:
    """Store the edited text of a move as a draft; with the field `forget`, delete the draft.

    Raises:
        UsageError: the move does not exist, or the text is too long.
    """
    text = None if fields.get("forget") else fields.get("text", "")
    if fields.get("move") not in desk.framework.names or len(text or "") > LONGEST_DRAFT:
        raise UsageError("this text cannot be stored")
    desk.draft(at, fields["move"], text)
