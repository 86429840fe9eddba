"""The review session on a terminal: show papers, and perform the actions of the keys.

For a disagreement, the reviewer chooses a text for each differing move, and then decides. Each
chosen text is stored immediately.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.support.stop_token import StopToken
from skills.curate.review.decision_log import Taken
from skills.curate.review.disagreement import Dispute, Row, dispute_at
from skills.curate.review.form import selected
from skills.curate.review.reviewer import Desk
from skills.curate.review.screen import (
    STAY,
    Act,
    Terminal,
    asked_move,
    drawn,
    drawn_choices,
    drawn_dispute,
    drawn_sides,
    names_of,
)
from skills.nanda.framework import Move
from skills.nanda.text import counted

KEYS = (
    "a accept  e edit  n not stated  t take  h highlight  r reject  s skip  u undo  q quit  ? help"
)
HELP = """\
a  accept: the paper becomes a row of the gold table
e  edit a move: by its number, or by the first letters of its name; the keys
   1 to 9 edit the move with this number at once
n  set a move to "Not stated." in one step
t  take the suggestion ("?") for a move as its text
h  highlight where a move comes from: by numbers of sentences, or by words of
   the abstract as they are
r  reject: the paper is not shown again; a reason can be given
s  skip: the paper is shown again at the end, and in the next session
u  undo the last decision, and show its paper again
q  quit, as Ctrl-C and Ctrl-D do: the same command continues from here
[1:Claim] after a sentence or passage: the move comes from it; with "?", the
move shares few words with it. "!" marks findings of the checks.
"""
DISPUTE_HELP = """\
1, 2  choose the text of reviewer 1 or 2 for the move that is shown
e     write another text for this move
c     choose again for a move, by its number or the first letters of its name;
      also for a move on which both reviewers agree
a     accept the moves as chosen: the paper becomes a row of the gold table
r     reject the annotation; a reason can be given
s     skip: the paper is shown again at the end, and in the next session
u     undo your last decision, and show its paper again
q     quit, as Ctrl-C and Ctrl-D do: what you have chosen is kept
"""
OnMove = Callable[[Move, int], int | None]


@dataclass(slots=True)
class Review:
    """A review session.

    Attributes:
        stop: the session ends when a stop is requested.
        settling: True if only disagreements are shown, not the undecided papers.
        passed: the keys of the papers whose disagreements were skipped.
    """

    desk: Desk
    terminal: Terminal
    stop: StopToken = field(default_factory=StopToken)
    settling: bool = False
    passed: set[str] = field(default_factory=set)
    _papers: int = 0

    def run(self) -> None:
        """Show one paper after the other until the user quits or no paper is left."""
        found = self.desk.right_so_far()
        self._papers = found.papers if found else 0
        at = self._next()
        while not self.stop.is_set():
            if at is None:
                at = self._end()
            elif dispute := dispute_at(self.desk, at):
                at = self._dispute(dispute, at)
            else:
                at = self._paper(at)

    def _next(self, start: int = 0) -> int | None:
        """Return the index of the next paper to show, or None if no paper is left.

        The search begins at the index `start`, and continues with the papers before `start`. After
        a complete round, the share of right moves is shown first.
        """
        found = self.desk.right_so_far()
        if found and found.papers > self._papers:
            self.terminal.show(f"{found}.", "bold")
            if found.retraining:
                self.terminal.show(f"Train on them: {found.retraining}", whole=True)
        self._papers = found.papers if found else 0
        if not self.settling:
            return self.desk.next(start)
        left = self._disputed()
        return next((at for at in left if at >= start), left[0] if left else None)

    def _disputed(self) -> list[int]:
        """Return the indexes of the disputed papers that were not skipped."""
        self.desk.log.refresh()
        keys = self.desk.papers.keys
        return [at for at in self.desk.disputed() if keys[at] not in self.passed]

    def _paper(self, at: int) -> int | None:
        """Show a paper and handle keys; return the index of the next paper, or None."""
        self._show(at)
        not_stated = functools.partial(self._change, self.desk.not_stated)
        acts: dict[str, Act] = {
            "a": self._accept,
            "e": functools.partial(self._choose, "Edit which move?", self._edit),
            "n": functools.partial(self._choose, "Which move is not stated?", not_stated),
            "t": self._take,
            "h": functools.partial(self._choose, "Highlight which move?", self._highlight),
            "r": self._reject,
            "s": self._skip,
            "u": self._undo,
            "q": self._quit,
            "?": functools.partial(self._help, HELP),
        }
        for number, move in enumerate(self.desk.framework.moves[:9], start=1):
            acts[str(number)] = functools.partial(self._edit, move)
        return self._handled(at, KEYS, acts)

    def _dispute(self, found: Dispute, at: int) -> int | None:
        """Show a disagreement and handle keys; return the index of the next paper, or None."""
        desk = self.desk
        dispute: Dispute | None = found
        following: int | None = at
        head = f"{counted(len(desk.disputed()), 'disagreement')} to settle"
        self.terminal.show(drawn_dispute(desk.papers[at].paper, found, head))
        while dispute is not None and following == at and not self.stop.is_set():
            row = dispute.to_choose
            acts: dict[str, Act] = {}
            message = "a accept as chosen  c choose again"
            if row is not None:
                acts, message = self._choosing(row), _texts_of(row, dispute)
                self.terminal.show(drawn_sides(row, dispute, self.terminal.width))
            elif dispute.choices:
                self.terminal.show(drawn_choices(dispute))
            again = functools.partial(self._choose_again, dispute)
            acts |= {
                "a": functools.partial(self._settle, dispute),
                "c": functools.partial(self._choose, "Choose again for which move?", again),
                "r": functools.partial(self._reject, resolves=True),
                "s": self._pass,
                "u": self._undo,
                "q": self._quit,
                "?": functools.partial(self._help, DISPUTE_HELP),
            }
            keys = f"{message}  r reject  s skip  u undo  q quit  ? help"
            following = self._handled(at, keys, acts)
            dispute = dispute_at(desk, at)
        return following

    def _choosing(self, row: Row) -> dict[str, Act]:
        """Return the actions that choose a text for a move, by key."""
        texts = {
            f"{place}": functools.partial(self._choose_text, row, text)
            for place, text in enumerate(row.texts, start=1)
        }
        return {**texts, "e": functools.partial(self._write, row)}

    def _choose_text(self, row: Row, text: str, at: int) -> int:
        self.desk.draft(at, row.move.name, text)
        return at

    def _write(self, row: Row, at: int) -> int:
        """Let the user write another text for a move, store it as a draft, and return `at`.

        After Ctrl-C, the draft is the same as before.
        """
        name, before = row.move.name, self.desk.drafts(at).get(row.move.name)
        text = row.texts[0] if row.chosen is None else row.chosen
        typed = self._typed(row.move, at, text)
        self.desk.draft(at, name, before if typed is None else self.desk.framework.canonical(typed))
        return at

    def _choose_again(self, dispute: Dispute, move: Move, at: int) -> int | None:
        row = next(row for row in dispute.rows if row.move == move)
        acts = self._choosing(row)
        self.terminal.show(drawn_sides(row, dispute, self.terminal.width))
        keys = f"{_texts_of(row, dispute)}  (Ctrl-C: as it is)"
        key = self.terminal.key(keys, "".join(acts))
        return acts[key](at) if key in acts else STAY

    def _settle(self, dispute: Dispute, at: int) -> int | None:
        self.desk.resolve(at, *dispute.settled(dispute.choices))
        return self._next(at + 1)

    def _handled(self, at: int, message: str, acts: Mapping[str, Act]) -> int | None:
        """Perform the actions of pressed keys until a paper is to be shown; return its index.

        The result is None if no paper is left. If an action is refused, the reason is shown. After
        `Taken`, the next paper is to be shown.
        """
        while not self.stop.is_set():
            try:
                following = acts[self.terminal.key(message, "".join(acts))](at)
            except Taken as exc:
                self.terminal.show(f"{exc.message}.", "yellow")
                return self._next(at + 1)
            except UsageError as exc:
                hint = f" {exc.hint}" if exc.hint else ""
                self.terminal.show(f"{exc.message.removesuffix('.')}.{hint}", "yellow")
                continue
            if following is not STAY:
                return following
        return at

    def _show(self, at: int) -> None:
        desk = self.desk
        item, counts = desk.papers[at], desk.counts()
        parts = [f"{at + 1} of {len(desk.papers)}"]
        parts += [f"{counts['accepted']} accepted", f"{counts['rejected']} rejected"]
        parts += [f"{counts['in_gold']} in gold before"] * bool(counts["in_gold"])
        parts += [f"{counts[name]} {name}" for name in ("waiting", "disputed") if counts[name]]
        if (certainty := desk.papers.certainty.get(item.key)) is not None:
            parts.append(f"certainty {certainty:.2f}")
        parts += ["for two reviewers"] * (desk.reviewers(item) > 1)
        parts += ["decided before, and changed since"] * desk.log.was_decided(item)
        self.terminal.show(drawn(desk.sheet(at), " · ".join(parts)))

    def _end(self) -> int | None:
        """Offer actions after the last paper; return the index of the next paper, or None."""
        text, again = self._left()
        offered = {"u": "u undo the last decision"} if self.desk.last() is not None else {}
        offered |= {"s": again} if again else {}
        count = 0 if self.settling else len(self._disputed())
        offered |= {"d": f"d settle {counted(count, 'disagreement')}"} if count else {}
        if not offered:
            return self._quit(None)
        self.terminal.show(text)
        offered["q"] = "q quit"
        pressed = self.terminal.key("  ".join(offered.values()), "".join(offered))
        if pressed == "u":
            following = self._undo(0)
            return self._next() if following is STAY else following
        if pressed == "s":
            (self.passed if self.settling else self.desk.skipped).clear()
            return self._next()
        if pressed == "d":
            self.settling = True
            return self._next()
        return self._quit(None)

    def _left(self) -> tuple[str, str]:
        """Return a sentence about the remaining papers, and the help of the key that shows them.

        The help is "" if no paper can be shown.
        """
        if self.settling:
            again = "s show the skipped ones"
            text = f"{len(self.passed)} skipped" if self.passed else "none is left"
            return f"That was the last disagreement: {text}.", again if self.passed else ""
        skipped = len(self.desk.skipped)
        if others := self.desk.counts()["to_do"] - skipped:
            return f"That was the last paper: {others} with other reviewers.", "s look again"
        if skipped:
            return f"That was the last paper: {skipped} skipped.", "s show the skipped ones"
        return "That was the last paper: all are decided on.", ""

    def _accept(self, at: int) -> int | None:
        self.desk.accept(at)
        return self._next(at + 1)

    def _reject(self, at: int, *, resolves: bool = False) -> int | None:
        reason = self.terminal.line("Why? (Enter: no reason, Ctrl-C: do not reject)")
        if reason is None:
            return STAY
        if resolves:
            self.desk.resolve(at, None, reason=reason)
        else:
            self.desk.reject(at, reason)
        return self._next(at + 1)

    def _choose(self, question: str, act: OnMove, at: int) -> int | None:
        move = asked_move(self.terminal, question, self.desk.framework.moves)
        return STAY if move is None else act(move, at)

    def _edit(self, move: Move, at: int) -> int | None:
        """Let the user edit a move; return `at`, or STAY if the text does not change."""
        desk = self.desk
        text = desk.moves(at)[move.name]
        draft = desk.drafts(at).get(move.name, text)
        typed = self._typed(move, at, draft)
        if typed is None:
            desk.draft(at, move.name, None)
        return at if typed is not None and desk.edit(at, move.name, typed) else STAY

    def _typed(self, move: Move, at: int, text: str) -> str | None:
        """Let the user edit a text for a move, and return the text; None after Ctrl-C or Ctrl-D.

        Each change of the text is stored as a draft.
        """
        return self.terminal.line(
            f"{move.label}:", text, lambda typing: self.desk.draft(at, move.name, typing)
        )

    def _change(self, change: Callable[[int, str], bool], move: Move, at: int) -> int:
        """Call `change` with the paper and the move; return `at`, or STAY if nothing changes."""
        return at if change(at, move.name) else STAY

    def _take(self, at: int) -> int | None:
        """Use the only suggestion, or else the suggestion for a move that the user names.

        Returns:
            `at`, or STAY if no text changes.
        """
        views, moves = self.desk.sheet(at).moves, self.desk.framework.moves
        offered = [moves[view.number - 1] for view in views if view.suggestion]
        take = functools.partial(self._change, self.desk.use_suggestion)
        if len(offered) != 1:
            return self._choose("Take the suggestion for which move?", take, at)
        return take(offered[0], at)

    def _highlight(self, move: Move, at: int) -> int | None:
        """Let the user name the passages of a move; return `at`, or STAY if nothing changes."""
        abstract = self.desk.papers[at].paper.abstract
        given = self.terminal.line(f"{move.label} comes from (sentence numbers, or words):")
        if not given:
            return STAY
        self.desk.anchor(at, move.name, selected(abstract, given))
        return at

    def _skip(self, at: int) -> int | None:
        self.desk.skip(at)
        return self._next(at + 1)

    def _pass(self, at: int) -> int | None:
        self.passed.add(self.desk.papers.keys[at])
        return self._next(at + 1)

    def _undo(self, _: int) -> int | None:
        undone = self.desk.undo()
        if undone is None:
            self.terminal.show("There is no decision to undo.", "yellow")
            return STAY
        at, decision = undone
        self.terminal.show(f"Undone: {decision.paper.id} is no longer {decision.what}ed.", "yellow")
        return at

    def _quit(self, at: int | None) -> int | None:
        self.stop.request_stop()
        return at

    def _help(self, text: str, _: int) -> int:
        self.terminal.show(text)
        return STAY


def _texts_of(row: Row, dispute: Dispute) -> str:
    """Return the help for the keys that choose a text for a move."""
    return f"{row.move.label}: {'  '.join(names_of(dispute))}  e another text"
