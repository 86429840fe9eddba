"""Store the decisions of reviewers, and derive the gold table from them.

The journal is the file GOLD_review.jsonl beside the table. A decision is appended to the journal,
which is synced before the table is written. If the process is killed in between, the next process
updates the table. A row of the table that does not come from the journal was written by a person:
the row never changes, and its paper counts as decided.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError, InputError, OutputError
from harness.support.journal_files import append_lines, complete_lines
from harness.support.text_input import place, reading, shown
from skills.corpus.table import paper_key
from skills.curate.items import Item
from skills.curate.review.gold_table import GoldTable, read_gold
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

if TYPE_CHECKING:
    from filelock import FileLock

What = Literal["accept", "reject", "edit", "undo"]
Unsettled = Literal["to_do", "waiting", "disputed"]
"""The state of an annotation without a final decision.

An annotation is "to_do" without a decision, "waiting" if it needs a second decision, and "disputed"
if it needs a decision that settles the disagreement of two reviewers.
"""
Spans = list[list[int]]
"""Passages of an abstract: the start and the end of each passage, in characters."""
WAIT = 30.0
"""Maximum seconds to wait for the lock of the journal."""
STORED = "The earlier decisions are stored; repeat the line to continue."


class Taken(HarnessError):
    """Raised if another reviewer has leased a paper, or if a decision is not needed any more."""

    exit_code = 2


class Decision(BaseModel, extra="forbid", frozen=True):
    """One line of the journal.

    Attributes:
        what: the action. "edit" changes the moves of a paper, or their anchors, before the
            decision; "undo" reverts the reviewer's last decision on the paper.
        at: the time in UTC, in ISO 8601 to the second.
        abstract_sha256: the digest of the abstract under review.
        shown_sha256: the digest of the moves under review, without edits.
        moves: the moves with the reviewer's edits.
        changed: the names of the moves that differ from the annotation under review.
        reason: the reviewer's reason for a rejection, or "".
        reviewer: the name of the reviewer; "" in a review by a single person.
        reviewers: number of reviewers who are to decide on the paper.
        anchors: the passages of the abstract that the reviewer selected, by move.
        resolves: True if the decision settles the disagreement of two reviewers.
        highlights: the names of the highlights in Zotero that the edit comes from.
    """

    what: What
    at: str
    paper: Paper
    abstract_sha256: str
    shown_sha256: str
    moves: dict[str, str]
    changed: tuple[str, ...] = ()
    reason: str = ""
    reviewer: str = ""
    reviewers: int = 1
    anchors: dict[str, Spans] = {}
    resolves: bool = False
    highlights: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key of the paper, as in `Item.key`."""
        return paper_key(self.paper.id)

    @property
    def digests(self) -> tuple[str, str]:
        """The digests of the abstract and of the moves, in the form of `Item.digests`."""
        return self.abstract_sha256, self.shown_sha256

    def is_about(self, item: Item) -> bool:
        """Return True if the decision is about the abstract and the moves of an annotation."""
        return self.digests == item.digests

    def is_like(self, other: Decision) -> bool:
        """Return True if both decisions reject, or accept the same moves."""
        return self.what == other.what and (self.what == "reject" or self.moves == other.moves)


def by_reviewer(decisions: Sequence[Decision]) -> dict[str, Decision]:
    """Return the last decision of each reviewer, by the name of the reviewer.

    Decisions that settle disagreements are left out.
    """
    return {one.reviewer: one for one in decisions if not one.resolves}


def outcome(decisions: Sequence[Decision]) -> Decision | Unsettled:
    """Return the final decision on an annotation, or its state without a final decision.

    The last decision that settles a disagreement has priority. If one reviewer is to decide on the
    paper, the last decision is final. If two reviewers are to decide, their decisions must agree.

    Args:
        decisions: the decisions on the annotation that were not undone, in order.
    """
    if not decisions:
        return "to_do"
    if settling := [one for one in decisions if one.resolves]:
        return settling[-1]
    needed = max(one.reviewers for one in decisions)
    given = list(by_reviewer(decisions).values())
    if needed == 1:
        return decisions[-1]
    if len(given) < needed:
        return "waiting"
    if all(given[0].is_like(one) for one in given[1:]):
        return given[-1]
    return "disputed"


@contextlib.contextmanager
def _held(lock: FileLock, journal: Path) -> Iterator[None]:
    """Lock a journal in a block, so that no other process or thread changes it.

    Blocks can be nested.

    Raises:
        OutputError: another process holds the lock for longer than `WAIT`.
    """
    import filelock

    try:
        with lock:
            yield
    except filelock.Timeout as exc:
        what = "another process is writing to it"
        raise OutputError(what, where=shown(journal), hint=STORED) from exc


@dataclass(slots=True)
class ReviewLog:
    """The log of the decisions on the papers of one gold table; `open_log` creates it.

    Attributes:
        journal: the file to which the processes of all reviewers append decisions, one at a time.
        lock: the lock of the journal.
        wrote: called with the SHA-256 of a new table, before this table replaces the old table.
        own: the keys of the papers whose rows were not written by a review.
        restored: number of accepted rows that were missing from the table.
        taken: (reviewer, name of the highlight) for each Zotero highlight that a reviewer's edit
            comes from.
    """

    gold: GoldTable
    journal: Path
    framework: Framework
    lock: FileLock
    wrote: Callable[[str], None]
    own: set[str] = field(default_factory=set)
    restored: int = 0
    taken: set[tuple[str, str]] = field(default_factory=set)
    _decided: dict[str, list[Decision]] = field(default_factory=lambda: defaultdict(list))
    _order: list[Decision] = field(default_factory=list)
    _drafts: dict[tuple[str, str], Decision] = field(default_factory=dict)
    _read: int = 0
    _lines: int = 0

    def decisions(self, item: Item) -> list[Decision]:
        """Return the decisions on an annotation that were not undone, in the order of the journal.

        Decisions on another annotation of the paper are left out.
        """
        return [one for one in self._decided.get(item.key, ()) if one.is_about(item)]

    def status(self, item: Item) -> str:
        """Return the status of an annotation as a word.

        The words "accepted", "edited" (accepted after edits) and "rejected" are final decisions,
        and the words of `Unsettled` are states without a final decision. "in_gold" stands for a
        paper whose row in the gold table was not written by the review.
        """
        if item.key in self.own:
            return "in_gold"
        found = outcome(self.decisions(item))
        if isinstance(found, str):
            return found
        if found.what == "reject":
            return "rejected"
        return "edited" if found.changed else "accepted"

    def wants(self, item: Item, reviewer: str) -> bool:
        """Return True if the reviewer still has to decide on an annotation."""
        status = self.status(item)
        if status == "waiting":
            return reviewer not in by_reviewer(self.decisions(item))
        return status == "to_do"

    def was_decided(self, item: Item) -> bool:
        """Return True if the last decision on the paper is about another annotation or abstract."""
        decided = self._decided.get(item.key, [])
        return bool(decided) and not decided[-1].is_about(item)

    def draft(self, item: Item, reviewer: str = "") -> Decision | None:
        """Return the entry with the reviewer's edits of an annotation, or None without edits.

        The entry is an "edit", or a decision of the reviewer that was undone.
        """
        draft = self._drafts.get((item.key, reviewer))
        return draft if draft is not None and draft.is_about(item) else None

    def edited(self, item: Item, reviewer: str = "") -> tuple[dict[str, str], dict[str, Spans]]:
        """Return the moves of an annotation, and the selected passages by move.

        Both include the reviewer's edits that are not part of a decision yet.
        """
        draft = self.draft(item, reviewer)
        return (dict(item.moves), {}) if draft is None else (dict(draft.moves), dict(draft.anchors))

    def latest(self, reviewer: str = "") -> Iterator[Decision]:
        """Yield the decisions of a reviewer that were not undone, starting with the latest.

        Decisions on papers in `own` are left out.
        """
        for decision in reversed(self._order):
            if decision.reviewer == reviewer and decision.key not in self.own:
                yield decision

    def reviewed(self) -> dict[str, str]:
        """Return the abstracts of decided papers by key, in the order of the first decisions."""
        return {one.key: one.paper.abstract for one in self._order}

    def settled(self, items: Iterable[Item]) -> list[Decision]:
        """Return the final decisions on annotations, in the order of the journal.

        Annotations of papers in `own`, and annotations without a final decision, are left out.
        """
        wanted = {item.key: item for item in items if item.key not in self.own}
        decided = ((one, wanted.get(one.key)) for one in self._order)
        return [one for one, item in decided if item and outcome(self.decisions(item)) is one]

    def known(self) -> set[str]:
        """Return the keys of the papers that were decided on, or are in the gold table."""
        return {key for key, decided in self._decided.items() if decided} | self.own

    def refuse_decided(self, item: Item, reviewer: str) -> None:
        """Raise Taken if the reviewer does not have to decide on an annotation any more."""
        if not self.wants(item, reviewer):
            by = " and ".join(sorted({one.reviewer for one in self.decisions(item)} - {""}))
            raise Taken(f"paper {item.paper.id} is decided on already{f' by {by}' if by else ''}")

    def record(self, decision: Decision, item: Item) -> None:
        """Append a decision on an annotation to the journal, and update the gold table.

        Raises:
            Taken: the decision is not needed any more, since another process has stored a decision.
            OutputError: the journal or the table cannot be written.
        """
        with self.locked():
            self._refuse(decision, item)
            self._append(decision)
            self._apply(decision)
            if self._update_row(decision.key):
                self.gold.write(self.wrote)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the journal in a block, after reading the new decisions of other processes."""
        with _held(self.lock, self.journal):
            self.refresh()
            yield

    def refresh(self) -> None:
        """Read the new decisions of other processes, and update the rows in memory."""
        for decision in self._read_new():
            self._apply(decision)
            self._update_row(decision.key)

    def write_table(self, file: IO[bytes]) -> None:
        """Write the gold table, including new decisions of other processes, to an open file."""
        with self.locked():
            self.gold.write_to(file)

    def replay(self) -> None:
        """Apply the journal, set `own` and `restored`, and write the table if rows have changed.

        An incomplete last line of the journal is removed. The caller must hold the lock.
        """
        accepted: defaultdict[str, set[bytes]] = defaultdict(set)
        for decision in self._read_new():
            self._apply(decision)
            if decision.what == "accept":
                accepted[decision.key].add(self._line(decision))
        with reading(self.journal):
            if self.journal.exists():
                append_lines(self.journal, b"")
        rows = self.gold.rows
        self.own = {key for key in rows if isinstance(key, str) and rows[key] not in accepted[key]}
        before = set(rows)
        differs = [key for key in list(accepted) if self._update_row(key)]
        self.restored = len(rows.keys() - before)
        if differs:
            self.gold.write(self.wrote)

    def _read_new(self) -> Iterator[Decision]:
        """Yield the decisions of the journal that this object has neither read nor appended.

        Raises:
            InputError: the journal cannot be read, or a line is not a decision on a paper with the
                moves of the framework.
        """
        with reading(self.journal):
            lines = complete_lines(self.journal, self._read)
        for line in lines:
            try:
                decision = Decision.model_validate_json(line)
            except ValidationError as exc:
                raise self._damaged("is not a decision of a review") from exc
            if set(decision.moves) != set(self.framework.names):
                raise self._damaged(f"has other moves than the framework {self.framework.name}")
            self._read += len(line)
            self._lines += 1
            yield decision

    def _damaged(self, what: str) -> InputError:
        return InputError(
            what,
            where=place(self.journal, "line", self._lines + 1),
            hint="Repair the line, or move the file away: the gold table then stays as it is.",
        )

    def _append(self, decision: Decision) -> None:
        """Append a decision to the journal, and sync the journal to the disk.

        The caller must hold the lock of the journal, and must have read all new decisions.

        Raises:
            OutputError: the decision cannot be written; the file is unchanged.
        """
        line = decision.model_dump_json().encode() + b"\n"
        try:
            append_lines(self.journal, line)
        except OSError as exc:
            what = f"the decision is not stored: {exc.strerror or exc}"
            raise OutputError(what, where=shown(self.journal), hint=STORED) from exc
        self._read += len(line)
        self._lines += 1

    def _refuse(self, decision: Decision, item: Item) -> None:
        """Raise Taken if the decision is not needed any more."""
        if decision.what == "edit":
            return
        named = f"paper {item.paper.id}"
        if decision.what == "undo":
            if all(one.reviewer != decision.reviewer for one in self._decided.get(item.key, ())):
                raise Taken(f"there is no decision on {named} to undo")
        elif decision.resolves:
            if self.status(item) != "disputed":
                raise Taken(f"there is no disagreement on {named}")
        else:
            self.refuse_decided(item, decision.reviewer)

    def _apply(self, decision: Decision) -> None:
        self.taken |= {(decision.reviewer, name) for name in decision.highlights}
        key, draft = decision.key, (decision.key, decision.reviewer)
        decided = self._decided[key]
        if decision.what == "edit":
            self._drafts[draft] = decision
        elif decision.what == "undo":
            own = [at for at, one in enumerate(decided) if one.reviewer == decision.reviewer]
            if own:
                reverted = decided.pop(own[-1])
                self._order.remove(reverted)
                self._drafts[draft] = reverted  # this keeps the edits of the undone decision
        else:
            decided.append(decision)
            self._order.append(decision)
            self._drafts.pop(draft, None)

    def _update_row(self, key: str) -> bool:
        """Set or remove the row of a paper by its decisions; return True if the table changes."""
        if key in self.own:
            return False
        rows, decided = self.gold.rows, self._decided[key]
        before = rows.get(key)
        found = outcome([one for one in decided if one.digests == decided[-1].digests])
        if isinstance(found, Decision) and found.what == "accept":
            rows[key] = self._line(found)
        else:
            rows.pop(key, None)
        return rows.get(key) != before

    def _line(self, decision: Decision) -> bytes:
        return self.gold.line(decision.paper, decision.moves)


def open_log(
    target: Path, framework: Framework, id_column: str, locks: Path, wrote: Callable[[str], None]
) -> ReviewLog:
    """Open the log of decisions on a gold table, and update the table from the log.

    Without a journal, the log is empty.

    Args:
        target: the gold table.
        id_column: the name of the id column of a new table.
        locks: the folder for the lock of the journal.
        wrote: called with the SHA-256 of a new table, before this table replaces the old table.

    Raises:
        UsageError, InputError: the target is not a gold table, or its journal is damaged.
        OutputError: the table cannot be updated.
    """
    import filelock

    path = target.with_name(f"{target.stem}_review.jsonl")
    locks.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    lock = filelock.FileLock(locks / f"{name}.journal.lock", timeout=WAIT)
    with _held(lock, path):
        gold = read_gold(target, framework, id_column)
        log = ReviewLog(gold, path, framework, lock, wrote)
        log.replay()
    return log
