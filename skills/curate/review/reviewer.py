"""The actions of a reviewer on a terminal or in a browser; edits and decisions are stored."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.support.process import job_lock
from skills.corpus.db.connection import open_corpus
from skills.corpus.db.reads import DELETED, REVIEWED, PulledHighlight, papers_with_highlights
from skills.corpus.db.rows import now
from skills.corpus.table import paper_key
from skills.curate.items import Item
from skills.curate.review.candidates import Candidates
from skills.curate.review.decision_log import (
    Decision,
    ReviewLog,
    Spans,
    Taken,
    What,
    by_reviewer,
    open_log,
)
from skills.curate.review.form import Sheet, faults, merged, of_highlight, sheet_of
from skills.curate.review.leases import MINUTES, Leases, Wanted, open_leases
from skills.curate.review.rounds import (
    ROUND,
    Order,
    RightSoFar,
    complete_rounds,
    retraining_line,
    right_so_far,
)
from skills.nanda.framework import Framework
from skills.nanda.text import counted, flatten

OFFERED = 500
"""Maximum number of papers that are searched for a free paper.

A reviewer leases only one paper at a time, so that a free paper is found unless 500 people review.
"""
COUNTS = ("accepted", "edited", "rejected", "in_gold", "to_do", "waiting", "disputed")


@dataclass(slots=True)
class Desk:
    """The papers that are offered to one reviewer of a gold table, and the reviewer's actions.

    The argument `at` of the methods is the index of a paper in `papers`. Only `next` changes the
    order of the papers.

    Attributes:
        reviewer: the name of the reviewer; "" in a review by a single person.
        retraining: the line that trains on the gold table.
        teaches: True if the papers that would teach a model most come first, and are ordered anew
            after each round.
        skipped: the keys of the papers that the reviewer has skipped.
    """

    framework: Framework
    papers: Candidates
    log: ReviewLog
    leases: Leases
    reviewer: str = ""
    retraining: str = ""
    teaches: bool = False
    skipped: set[str] = field(default_factory=set)
    _as_read: Candidates | None = None
    _taught: list[str] | None = None

    def next(self, start: int = 0) -> int | None:
        """Lease the next free paper, and return its index, or None if no paper is free.

        Papers from the index `start` on are searched first, then the papers before `start`. If
        `teaches` is True, `start` is ignored: the search begins at the first paper or, at the
        beginning of a round, at the paper that the reviewer has leased. Unless two reviewers are to
        decide on the paper, no other reviewer gets the paper during the lease.
        """
        with self.log.locked():
            if self.teaches:
                start = self._held() if self._begin_round() else 0
            key = self.leases.claim(self.reviewer, list(islice(self._wanted(start), OFFERED)))
            return None if key is None else self.papers.places[key]

    def take(self, at: int) -> None:
        """Lease a paper to the reviewer, or renew the lease.

        Raises:
            Taken: another reviewer has leased the paper, or the paper is decided on already.
        """
        item = self.papers[at]
        with self.log.locked():
            self.log.refuse_decided(item, self.reviewer)
            if self.leases.claim(self.reviewer, [self._free(item)]) is None:
                holders = " and ".join(self.leases.holders().get(item.key, []))
                raise Taken(
                    f"{holders or 'another reviewer'} has paper {item.paper.id} now",
                    hint=f"The paper becomes free if its reviewer does nothing for {MINUTES} "
                    "minutes.",
                )

    def sheet(self, at: int) -> Sheet:
        """Return the form of a paper with the reviewer's edits."""
        item = self.papers[at]
        return sheet_of(item, self.framework, *self.log.edited(item, self.reviewer))

    def moves(self, at: int) -> dict[str, str]:
        """Return the moves of a paper with the reviewer's edits."""
        return self.log.edited(self.papers[at], self.reviewer)[0]

    def accept(self, at: int) -> None:
        """Accept the annotation of a paper with the reviewer's edits.

        Raises:
            UsageError: a move is not valid, or the reviewer has not finished the edit of a text.
            Taken: as for `take`.
        """
        moves = self.moves(at)
        self._refuse_faults(moves)
        for move, text in self.drafts(at).items():
            if self.framework.canonical(text) != moves[move]:
                label = self.framework.labels[move]
                raise UsageError(f"Not accepted: the edit of {label} was not finished.")
        self._decide("accept", at)

    def reject(self, at: int, reason: str = "") -> None:
        """Reject the annotation of a paper.

        Raises:
            Taken: as for `take`.
        """
        self._decide("reject", at, reason=reason)

    def edit(self, at: int, move: str, text: str) -> bool:
        """Store a new text of a move; return True if the text differs from the old text.

        The draft of the move is deleted. An invalid text is stored, but prevents the acceptance.

        Raises:
            Taken: as for `take`.
        """
        self.take(at)
        item = self.papers[at]
        moves, anchors = self.log.edited(item, self.reviewer)
        new = self.framework.canonical(text)
        is_new = new != moves[move]
        if is_new:
            if new == self.framework.not_stated:
                anchors.pop(move, None)
            self._record(item, "edit", {**moves, move: new}, anchors=anchors)
        self.leases.save_draft(self.reviewer, item.key, move, None)
        return is_new

    def not_stated(self, at: int, move: str) -> bool:
        """Store that the abstract does not state a move; return True if the move changes."""
        return self.edit(at, move, self.framework.not_stated)

    def use_suggestion(self, at: int, move: str) -> bool:
        """Store the suggestion for a move as its text; return True if the text changes.

        Without a suggestion, nothing is stored, and the result is False.

        Raises:
            Taken: as for `take`.
        """
        text = next(view.suggestion for view in self.sheet(at).moves if view.name == move)
        return bool(text) and self.edit(at, move, text)

    def anchor(self, at: int, move: str, spans: Spans) -> None:
        """Store the spans of the passages that a move comes from.

        Raises:
            UsageError: the move is not stated.
            Taken: as for `take`.
        """
        self.take(at)
        item = self.papers[at]
        moves, anchors = self.log.edited(item, self.reviewer)
        if moves[move] == self.framework.not_stated:
            label = self.framework.labels[move]
            raise UsageError(f"{label} is not stated, so that it comes from no passage.")
        self._record(item, "edit", moves, anchors={**anchors, move: spans})

    def take_over(self, papers: Mapping[str, Sequence[PulledHighlight]]) -> str:
        """Turn highlights in Zotero into edits of undecided papers, and accept reviewed papers.

        The text of a move becomes the passages that are highlighted with the tag of the move, or
        "Not stated." if a person has deleted the highlights of the move. A move changes only
        if a highlight of the move is new or was changed. A paper is accepted if its Zotero item has
        the tag "FRAMEWORK:reviewed", such as "nanda:reviewed".

        Args:
            papers: the highlights by the ids of papers. If the reviewer has a name, the highlights
                and tags of Zotero users with other names are ignored.

        Returns:
            A clause with the numbers of moves and papers; "" if no paper changes.
        """
        taken = accepted = changed = 0
        for paper_id, highlights in papers.items():
            at = self.papers.places.get(paper_key(paper_id))
            if at is None or not self.log.wants(self.papers[at], self.reviewer):
                continue
            item, name = self.papers[at], self.reviewer.casefold()
            own = [one for one in highlights if not name or one.author.casefold() in ("", name)]
            new = [one for one in own if (self.reviewer, one.name) not in self.log.taken]
            tags = [one.author.casefold() for one in new if one.kind == REVIEWED]
            is_reviewed = name in tags if name else bool(tags)
            moves = {move for one in new if one.chosen for move in one.moves(self.framework)}
            found = self._highlighted(item, own, moves)
            if not (found or is_reviewed):
                continue
            texts, anchors = self.log.edited(item, self.reviewer)
            for move, spans in found.items():
                passages = (item.paper.abstract[start:end] for start, end in spans)
                texts[move] = " ".join(map(flatten, passages)) or self.framework.not_stated
            anchors = {move: spans for move, spans in {**anchors, **found}.items() if spans}
            with contextlib.suppress(Taken, UsageError):  # the reviewer can decide later
                if is_reviewed:
                    self.take(at)
                names = tuple(one.name for one in new if one.chosen or one.kind == REVIEWED)
                self._record(item, "edit", texts, anchors=anchors, highlights=names)
                taken, changed = taken + len(found), changed + 1
                if is_reviewed:
                    self.accept(at)
                    accepted += 1
        if not changed:
            return ""
        text = f"from highlights in Zotero: {counted(taken, 'move')} of {counted(changed, 'paper')}"
        return f"{text}, of which {accepted} accepted" if accepted else text

    def _highlighted(
        self, item: Item, highlights: Sequence[PulledHighlight], moves: set[str]
    ) -> dict[str, Spans]:
        """Return the spans of the highlights of each move, or [] if its highlights were deleted.

        Args:
            moves: the names of the moves to return; moves without highlights are left out.
        """
        found: dict[str, Spans] = {}
        for one in highlights:
            spans = of_highlight(item.paper.abstract, one.text)
            for move in moves.intersection(one.moves(self.framework)) if one.chosen else ():
                if spans or one.kind == DELETED:
                    found[move] = merged([*found.get(move, ()), *spans])
        return found

    def skip(self, at: int) -> None:
        """End the reviewer's lease of a paper, and add the paper to `skipped`."""
        key = self.papers.keys[at]
        self.skipped.add(key)
        self.leases.release(self.reviewer, key)

    def undo(self) -> tuple[int, Decision] | None:
        """Revert the reviewer's last decision, and lease its paper to the reviewer.

        After the revert of a decision that settled a disagreement, the paper is not leased.

        Returns:
            The index of the paper and the reverted decision, or None if there is no decision.
        """
        with self.log.locked():
            at = self.last()
            if at is None:
                return None
            item = self.papers[at]
            decision = [d for d in self.log.decisions(item) if d.reviewer == self.reviewer][-1]
            self._record(item, "undo", decision.moves, anchors=decision.anchors)
            self.leases.forget_drafts(self.reviewer, item.key)
            self.skipped.discard(item.key)
            if not decision.resolves:
                self.take(at)
            return at, decision

    def resolve(
        self,
        at: int,
        moves: Mapping[str, str] | None,
        anchors: Mapping[str, Spans] | None = None,
        reason: str = "",
    ) -> None:
        """Settle a disagreement: accept `moves`, or reject the annotation if `moves` is None.

        The reviewer's stored drafts of the paper are deleted.

        Args:
            anchors: the passages that reviewers selected for the accepted moves.
            reason: the reason for a rejection.

        Raises:
            UsageError: a move is not valid.
            Taken: the disagreement is settled already.
        """
        item = self.papers[at]
        if moves is None:
            self._record(item, "reject", dict(item.moves), reason=reason, resolves=True)
        else:
            chosen = {name: self.framework.canonical(text) for name, text in moves.items()}
            self._refuse_faults(chosen)
            self._record(item, "accept", chosen, anchors=dict(anchors or {}), resolves=True)
        self.leases.forget_drafts(self.reviewer, item.key)

    def last(self) -> int | None:
        """Return the index of the paper that the reviewer decided on last, or None."""
        for decision in self.log.latest(self.reviewer):
            at = self.papers.places.get(decision.key)
            if at is not None and decision.is_about(self.papers[at]):
                return at
        return None

    def disputed(self) -> list[int]:
        """Return the indexes of the papers with the status "disputed"."""
        places = self.papers.places
        return [places[one.key] for one in self._known() if self.log.status(one) == "disputed"]

    def counts(self) -> dict[str, int]:
        """Return the number of papers with each status, by the words of `ReviewLog.status`.

        The number "accepted" includes papers with the status "edited".
        """
        known = self._known()
        found = Counter(map(self.log.status, known))
        found["to_do"] += len(self.papers) - len(known)
        found["accepted"] += found["edited"]
        return {name: found[name] for name in COUNTS}

    def right_so_far(self) -> RightSoFar | None:
        """Return the share of right moves in all complete rounds, or None in the first round."""
        line = self.retraining if len(self.log.gold.rows) >= ROUND else ""
        return right_so_far(self.log.settled(self._known()), self.framework, line)

    def draft(self, at: int, move: str, text: str | None) -> None:
        """Store the text of a move that is being edited; None deletes the stored text."""
        self.leases.save_draft(self.reviewer, self.papers[at].key, move, text)

    def drafts(self, at: int) -> Mapping[str, str]:
        """Return the stored texts that the reviewer was editing in a paper, by move."""
        return self.leases.drafts(self.reviewer, self.papers[at].key)

    def _known(self) -> list[Item]:
        """Return the annotations of the papers that were decided on, or are in the gold table."""
        return self.papers.known(self.log.known())

    def _begin_round(self) -> bool:
        """Order the papers for the current round; return True if a new round has begun.

        The order depends only on complete rounds, so that a restart continues at the same paper.
        """
        reviewed = dict(complete_rounds(list(self.log.reviewed().items())))
        if list(reviewed) == self._taught:
            return False
        self._taught, self._as_read = list(reviewed), self._as_read or self.papers
        in_gold = dict.fromkeys(sorted(self.log.own), "")
        self.papers = self._as_read.by_teaching({**in_gold, **reviewed})
        return True

    def _held(self) -> int:
        """Return the index of the paper that the reviewer has leased, or 0 without a lease."""
        places, holders = self.papers.places, self.leases.holders()
        held = (key for key, names in holders.items() if self.reviewer in names)
        return next((places[key] for key in held if key in places), 0)

    def _wanted(self, start: int) -> Iterator[Wanted]:
        """Yield papers to decide on that are not skipped: from `start` on, then the others."""
        keys, known = self.papers.keys, {item.key: item for item in self._known()}
        for key in (*keys[start:], *keys[:start]):
            if key in self.skipped:
                continue
            if key not in known:
                yield key, self._drawn(key)
            elif self.log.wants(known[key], self.reviewer):
                yield self._free(known[key])

    def _free(self, item: Item) -> Wanted:
        """Return the key of a paper and the number of reviewers who still have to decide on it."""
        others = by_reviewer(self.log.decisions(item)).keys() - {self.reviewer}
        return item.key, max(1, self.reviewers(item) - len(others))

    def reviewers(self, item: Item) -> int:
        """Return the number of reviewers who are to decide on a paper, 1 or 2."""
        given = [one.reviewers for one in self.log.decisions(item)]
        return max(given) if given else self._drawn(item.key)

    def _drawn(self, key: str) -> int:
        """Return the number of reviewers for an undecided paper: 1, or 2 for a share of the papers.

        The number depends only on the key of the paper and on that share.
        """
        drawn = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 16**8
        return 2 if drawn < self.leases.double else 1

    def _refuse_faults(self, moves: Mapping[str, str]) -> None:
        if wrong := faults(self.framework, moves):
            first = next(move for move in self.framework.moves if move.name in wrong)
            raise UsageError(f"Not accepted: {first.label} is {wrong[first.name]}.")

    def _decide(self, what: What, at: int, reason: str = "") -> None:
        item = self.papers[at]
        self.take(at)
        moves, anchors = self.log.edited(item, self.reviewer)
        reviewers = self.reviewers(item)
        self._record(item, what, moves, reviewers=reviewers, reason=reason, anchors=anchors)
        self.leases.release(self.reviewer, item.key)
        self.leases.forget_drafts(self.reviewer, item.key)

    def _record(self, item: Item, what: What, moves: dict[str, str], **more: Any) -> None:
        decision = Decision(
            what=what,
            at=now(),
            paper=item.paper,
            abstract_sha256=item.paper.sha256,
            shown_sha256=item.moves_sha256,
            moves=moves,
            changed=tuple(name for name, text in item.moves.items() if moves[name] != text),
            reviewer=self.reviewer,
            **more,
        )
        self.log.record(decision, item)


def highlights_in(corpus: Path) -> dict[str, list[PulledHighlight]]:
    """Return the highlights that people made in Zotero, by the ids of papers.

    The result is {} if the corpus does not exist.
    """
    if not corpus.is_file():
        return {}
    with open_corpus(corpus, must_exist=True) as db:
        return papers_with_highlights(db)


def name_lock(locks: Path, gold: Path, reviewer: str) -> AbstractContextManager[None]:
    """Return a context manager that locks a reviewer's name for a gold table.

    Raises:
        UsageError: another process holds the lock.
    """
    return job_lock(locks, f"{gold.resolve()}{f' by {reviewer}' if reviewer else ''}")


@dataclass(frozen=True, slots=True)
class Queue:
    """The stores of a review: gold table, corpus database and locks.

    Attributes:
        gold: the gold table.
        corpus: the corpus database, which contains the leases.
        locks: the folder for the lock of the journal.
        wrote: called with the SHA-256 of a new gold table, before this table replaces the old one.
        double: the new share of papers on which two reviewers decide; None keeps the stored share.
        framework_option: the value of `--framework`; None for the built-in framework.
    """

    framework: Framework
    gold: Path
    corpus: Path
    locks: Path
    wrote: Callable[[str], None]
    double: float | None = None
    framework_option: Path | None = None

    def desk(
        self,
        papers: Candidates,
        reviewer: str = "",
        *,
        sample: int | None = None,
        seed: int = 0,
        order: Order | None = None,
    ) -> Desk:
        """Return the desk of a reviewer for these annotations, or for a sample of them.

        Args:
            sample: the size of the sample; None for all annotations.
            seed: the seed of the sample.
            order: the order of the papers. If it is None, a sample and a selection by words or
                conditions keep their order, and other papers have the order "teach".

        Raises:
            UsageError: the gold table is not a .csv file.
            InputError, OutputError: the gold table, its journal or the corpus cannot be used.
        """
        selected = papers if sample is None else papers.sample(sample, seed)
        if order == "uncertain":
            selected = selected.by_certainty()
        elif order is None and sample is None and not papers.is_selected:
            order = "teach"
        log = open_log(self.gold, self.framework, papers.id_column, self.locks, self.wrote)
        leases = open_leases(self.corpus, self.gold, self.double)
        teaches = order == "teach" and bool(selected.certainty)
        line = retraining_line(self.gold, self.framework_option)
        return Desk(self.framework, selected, log, leases, reviewer, line, teaches)
