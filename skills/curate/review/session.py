"""The review session: what each key does, and which paper is shown next."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.support.stopping.stop_token import StopToken
from skills.curate.review.input import Candidates
from skills.curate.review.log import ReviewLog
from skills.curate.review.screen import Terminal, View, faults
from skills.nanda.framework import Framework, Move

COUNTS = ("accepted", "edited", "rejected", "in_gold", "to_do")
KEYS = "a accept  e edit  r reject  s skip  u undo  q quit  ? help"
HELP = """\
a  accept: the paper becomes a row of the gold table
e  edit a move: by its number, or by the first letters of its name; the keys
   1 to 9 edit that move at once
r  reject: the paper is not shown again; a reason can be given
s  skip: it is shown again at the end, and next time
u  undo the last decision, and show its paper again
q  quit, as Ctrl-C and Ctrl-D do: the same command continues from here
[1:Claim] after a sentence: the move comes from it, by the similarity of their
words; "?" marks a weak similarity. "!" marks findings of the checks.
"""


@dataclass(slots=True)
class Review:
    """A review session.

    The method of a key takes the index of the shown paper and returns that of the paper to show
    next: the same index to redraw it, None to leave the screen as it is.
    """

    framework: Framework
    papers: Candidates
    log: ReviewLog
    terminal: Terminal
    skipped: set[int] = field(default_factory=set)
    stop: StopToken = field(default_factory=StopToken)

    def run(self) -> None:
        """Show one paper after the other until all are decided on or the user quits."""
        at = self._next(0)
        while not self.stop.is_set():
            at = self._end() if at == len(self.papers.items) else self._paper(at)

    def counts(self) -> dict[str, int]:
        """Count the papers by decision.

        Returns:
            accepted, edited (accepted after an edit), rejected, in_gold (in the gold table from
            elsewhere) and to_do.
        """
        found = Counter(map(self.log.status, self.papers.items))
        found["accepted"] += found["edited"]
        return {name: found[name] for name in COUNTS}

    def _next(self, start: int) -> int:
        """Return the next undecided paper from `start`, then from the first, or their number."""
        count = len(self.papers.items)
        for number in itertools.chain(range(start, count), range(start)):
            if number not in self.skipped and self.log.status(self.papers.items[number]) == "to_do":
                return number
        return count

    def _paper(self, at: int) -> int:
        """Show a paper, and handle keys until another one is to be shown."""
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
        item, counts = self.papers.items[at], self.counts()
        parts = [f"{at + 1} of {len(self.papers.items)}"]
        parts += [f"{counts['accepted']} accepted", f"{counts['rejected']} rejected"]
        parts += [f"{counts['in_gold']} in gold before"] * bool(counts["in_gold"])
        if (certainty := self.papers.certainty.get(item.key)) is not None:
            parts.append(f"certainty {certainty:.0%}")
        parts += ["decided before, and changed since"] * self.log.was_decided(item)
        view = View(item, self.framework, " · ".join(parts), self.log.moves(item))
        self.terminal.show(view.drawn())

    def _end(self) -> int:
        """Offer to undo or to show skipped papers once nothing is left."""
        count = len(self.papers.items)
        last = self.log.last_of(self.papers.items)
        offered = {"u": "u undo the last decision"} if last is not None else {}
        offered |= {"s": "s show the skipped ones"} if self.skipped else {}
        if not offered:
            return self._quit(count)
        left = f"{len(self.skipped)} skipped" if self.skipped else "all are decided on"
        self.terminal.show(f"That was the last paper: {left}.")
        offered["q"] = "q quit"
        pressed = self.terminal.key("  ".join(offered.values()), "".join(offered))
        if pressed == "u":
            return self._undo(0) or 0
        if pressed == "s":
            self.skipped.clear()
            return self._next(0)
        return self._quit(count)

    def _accept(self, at: int) -> int | None:
        found = faults(self.framework, self.log.moves(self.papers.items[at]))
        if found:
            first = next(move for move in self.framework.moves if move.name in found)
            self.terminal.show(f"Not accepted: {first.label} is {found[first.name]}.", "yellow")
            return None
        self.log.record("accept", self.papers.items[at])
        return self._next(at + 1)

    def _reject(self, at: int) -> int | None:
        reason = self.terminal.line("Why? (Enter: no reason, Ctrl-C: do not reject)")
        if reason is None:
            return None
        self.log.record("reject", self.papers.items[at], reason=reason)
        return self._next(at + 1)

    def _choose(self, at: int) -> int | None:
        typed = self.terminal.line(f"Edit which move? (1-{len(self.framework.moves)}, or a name)")
        while typed:
            found = _named(typed, self.framework.moves)
            if len(found) == 1:
                return self._edit(found[0], at)
            which = " or ".join(move.label for move in found) or "no move"
            typed = self.terminal.line(f"{typed!r} is {which}. Which move?")
        return None

    def _edit(self, move: Move, at: int) -> int | None:
        """Store the new text of a move; a text that is not valid cannot be accepted later."""
        item = self.papers.items[at]
        moves = self.log.moves(item)
        typed = self.terminal.line(f"{move.label}:", moves[move.name])
        text = moves[move.name] if typed is None else self.framework.canonical(typed)
        if text == moves[move.name]:
            return None
        self.log.record("edit", item, {**moves, move.name: text})
        return at

    def _skip(self, at: int) -> int:
        self.skipped.add(at)
        return self._next(at + 1)

    def _undo(self, _: int) -> int | None:
        at = self.log.last_of(self.papers.items)
        if at is None:
            self.terminal.show("There is no decision to undo.", "yellow")
            return None
        item = self.papers.items[at]
        decision = self.log.decision(item)
        assert decision is not None
        self.log.record("undo", item, decision.moves)
        self.terminal.show(f"Undone: {item.paper.id} is no longer {decision.what}ed.", "yellow")
        return at

    def _quit(self, at: int) -> int:
        self.stop.request_stop()
        return at

    def _help(self, _: int) -> None:
        self.terminal.show(HELP)


def _named(typed: str, moves: tuple[Move, ...]) -> list[Move]:
    """Return the moves that the user may mean: by number, or by the beginning of the label."""
    if typed.isdecimal():
        return [move for number, move in enumerate(moves, start=1) if number == int(typed)]
    begins = [m for m in moves if m.label.casefold().startswith(typed.casefold())]
    exact = [move for move in begins if move.label.casefold() == typed.casefold()]
    return exact or begins
