"""A review at work: what each key does, and which paper is shown next."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from harness.support.stop_token import StopToken
from skills.corpus.db.rows import now
from skills.curate.review.input import Candidate, Candidates
from skills.curate.review.log import Decision, ReviewLog
from skills.curate.review.screen import Terminal, View, faults
from skills.nanda.framework import Framework, Move

KEYS = "a accept  e edit  r reject  s skip  u undo  q quit  ? help"
HELP = """\
a  accept: the paper becomes a row of the gold table
e  edit a move: by its number, or by the first letters of its name; the keys
   1 to 9 edit that move at once
r  reject: the paper is not shown again; a reason can be given
s  skip: it is shown again at the end, and next time
u  undo the last decision, and show its paper again
q  quit, as Ctrl-C and Ctrl-D do: the same line goes on from here
[1:Claim] behind a sentence: the move comes from it, by the likeness of their
words; with "?" it is a faint one. "!" is what the checks found in a move.
"""


@dataclass(slots=True)
class Counts:
    """Where the papers of a review stand.

    Attributes:
        edited: how many of the accepted ones were changed first.
        in_gold: how many the gold table had from elsewhere.
    """

    accepted: int = 0
    edited: int = 0
    rejected: int = 0
    in_gold: int = 0
    to_do: int = 0


@dataclass(slots=True)
class Review:
    """One review.

    A key's method takes the number of the paper that is shown, and gives that of the paper to show
    next: the same one to show it anew, None to leave the screen as it is.
    """

    framework: Framework
    papers: Candidates
    log: ReviewLog
    terminal: Terminal
    skipped: set[int] = field(default_factory=set)
    stop: StopToken = field(default_factory=StopToken)

    def run(self) -> None:
        """Show one paper after the other until all are decided on or the person has had enough."""
        at = self._next(0)
        while not self.stop.is_set():
            at = self._end() if at == len(self.papers.items) else self._paper(at)

    def counts(self) -> Counts:
        """Count what the log says now."""
        found = Counts()
        for candidate in self.papers.items:
            decision = self.log.decision(candidate)
            if candidate.key in self.log.own:
                found.in_gold += 1
            elif decision is None:
                found.to_do += 1
            elif decision.what == "accept":
                found.accepted += 1
                found.edited += bool(decision.changed)
            else:
                found.rejected += 1
        return found

    def _next(self, start: int) -> int:
        """The next paper to decide on, from `start` and then from the first; their number at the
        end."""
        count = len(self.papers.items)
        for number in itertools.chain(range(start, count), range(start)):
            if number not in self.skipped and not self.log.is_decided(self.papers.items[number]):
                return number
        return count

    def _paper(self, at: int) -> int:
        """Show a paper, and act on keys until another one is to be shown."""
        self._show(at)
        acts: dict[str, Callable[[int], int | None]] = {
            "a": self._accept,
            "e": self._choose,
            "r": self._reject,
            "s": self._skip,
            "u": self._undo,
            "q": self._quit,
            "?": self._help,
        }
        for number, move in enumerate(self.framework.moves[:9], start=1):
            acts[str(number)] = functools.partial(self._edit, move)
        while not self.stop.is_set():
            following = acts[self.terminal.key(KEYS, "".join(acts))](at)
            if following is not None:
                return following
        return at

    def _show(self, at: int) -> None:
        candidate, counts = self.papers.items[at], self.counts()
        parts = [f"{at + 1} of {len(self.papers.items)}"]
        parts += [f"{counts.accepted} accepted", f"{counts.rejected} rejected"]
        parts += [f"{counts.in_gold} in gold before"] * bool(counts.in_gold)
        parts += ["decided before, and changed since"] * self.log.was_decided(candidate)
        moves = self.log.moves(candidate)
        view = View(
            candidate, self.framework, " · ".join(parts), moves, faults(self.framework, moves)
        )
        self.terminal.show(view.drawn())

    def _end(self) -> int:
        """Say that nothing is left, while something can still be done about it."""
        undoes = self.log.last_of(self._by_key()) is not None
        if not undoes and not self.skipped:
            self.stop.request_stop()
            return len(self.papers.items)
        left = f"{len(self.skipped)} skipped" if self.skipped else "all are decided on"
        self.terminal.show(f"That was the last paper: {left}.")
        offered = {"u": "u undo the last decision"} if undoes else {}
        offered |= {"s": "s show the skipped ones"} if self.skipped else {}
        offered["q"] = "q quit"
        pressed = self.terminal.key("  ".join(offered.values()), "".join(offered))
        if pressed == "u":
            return self._undo(0) or 0
        if pressed == "s":
            self.skipped.clear()
            return self._next(0)
        return self._quit(len(self.papers.items))

    def _accept(self, at: int) -> int | None:
        candidate = self.papers.items[at]
        found = faults(self.framework, self.log.moves(candidate))
        if found:
            first = next(move for move in self.framework.moves if move.name in found)
            self.terminal.show(f"Not accepted: {first.label} is {found[first.name]}.", "yellow")
            return None
        self._record("accept", candidate)
        return self._next(at + 1)

    def _reject(self, at: int) -> int | None:
        reason = self.terminal.line("Why? (Enter: no reason, Ctrl-C: do not reject)")
        if reason is None:
            return None
        self._record("reject", self.papers.items[at], reason=reason)
        return self._next(at + 1)

    def _choose(self, at: int) -> int | None:
        move = self._asked_move()
        return None if move is None else self._edit(move, at)

    def _edit(self, move: Move, at: int) -> int | None:
        candidate = self.papers.items[at]
        moves = self.log.moves(candidate)
        text = self._asked_text(move, moves)
        if text is None or text == moves[move.name]:
            return None
        self._record("edit", candidate, {**moves, move.name: text})
        return at

    def _asked_move(self) -> Move | None:
        asked = self.terminal.line(f"Edit which move? (1-{len(self.framework.moves)}, or a name)")
        while asked:
            found = _named(asked, self.framework.moves)
            if len(found) == 1:
                return found[0]
            which = " or ".join(move.label for move in found) or "no move"
            asked = self.terminal.line(f"{asked!r} is {which}. Which move?")
        return None

    def _asked_text(self, move: Move, moves: dict[str, str]) -> str | None:
        """The move's new text, which the framework takes; None where it stays as it is."""
        typed = self.terminal.line(f"{move.label}:", moves[move.name])
        while typed is not None:
            text = self.framework.canonical(typed)
            fault = faults(self.framework, {**moves, move.name: text}).get(move.name)
            if fault is None:
                return text
            self.terminal.show(f"Not taken: it is {fault}. Ctrl-C leaves it as it was.", "yellow")
            typed = self.terminal.line(f"{move.label}:", text)
        return None

    def _skip(self, at: int) -> int:
        self.skipped.add(at)
        return self._next(at + 1)

    def _undo(self, _: int) -> int | None:
        by_key = self._by_key()
        candidate = self.log.last_of(by_key)
        if candidate is None:
            self.terminal.show("There is no decision to undo.", "yellow")
            return None
        decision = self.log.decision(candidate)
        was = "accepted" if decision and decision.what == "accept" else "rejected"
        self._record("undo", candidate, decision.moves if decision else None)
        self.terminal.show(f"Undone: {candidate.paper.id} is no longer {was}.", "yellow")
        return list(by_key).index(candidate.key)

    def _quit(self, at: int) -> int:
        self.stop.request_stop()
        return at

    def _help(self, _: int) -> None:
        self.terminal.show(HELP)

    def _by_key(self) -> dict[str, Candidate]:
        return {candidate.key: candidate for candidate in self.papers.items}

    def _record(
        self,
        what: Literal["accept", "reject", "edit", "undo"],
        candidate: Candidate,
        moves: dict[str, str] | None = None,
        reason: str = "",
    ) -> None:
        """Keep a decision; without `moves`, on the moves with the edits made so far."""
        kept = moves or self.log.moves(candidate)
        abstract_sha256, shown_sha256 = candidate.digests
        self.log.record(
            Decision(
                what=what,
                at=now(),
                paper=candidate.paper,
                abstract_sha256=abstract_sha256,
                shown_sha256=shown_sha256,
                moves=kept,
                changed=tuple(n for n in self.framework.names if kept[n] != candidate.moves[n]),
                reason=reason,
            )
        )


def _named(asked: str, moves: tuple[Move, ...]) -> list[Move]:
    """The moves that a person may mean: the one of this number, or those that begin like this."""
    if asked.isdecimal():
        return [move for number, move in enumerate(moves, start=1) if number == int(asked)]
    begins = [m for m in moves if m.label.casefold().startswith(asked.casefold())]
    exact = [move for move in begins if move.label.casefold() == asked.casefold()]
    return exact or begins
