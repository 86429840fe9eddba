"""The decisions of a review: a journal, from which the gold table is derived.

The journal GOLD_review.jsonl is beside the table. A decision is appended and synced before the
table is written: if the process is killed in between, the next one updates the table. Rows of the
table that do not come from the journal are a person's own: they are never changed, and their papers
count as decided.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import InputError, OutputError
from harness.support.reading.text_input import place, shown, unreadable
from skills.corpus.db.rows import now
from skills.corpus.tables.reader import paper_key
from skills.curate.inputs.items import Item
from skills.curate.review.gold import GoldTable, read_gold
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

What = Literal["accept", "reject", "edit", "undo"]


class Decision(BaseModel):
    """One line of the journal.

    Attributes:
        what: "edit" changes moves of a paper before it is decided on; "undo" reverts the paper's
            last decision.
        at: the time, UTC, to the second.
        abstract_sha256, shown_sha256: of the abstract and the moves under review.
        moves: the moves after the decision.
        changed: the names of the moves that differ from those under review.
        reason: why the paper was rejected, if a reason was given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: What
    at: str
    paper: Paper
    abstract_sha256: str
    shown_sha256: str
    moves: dict[str, str]
    changed: tuple[str, ...] = ()
    reason: str = ""

    @property
    def key(self) -> str:
        return paper_key(self.paper.id)

    def is_about(self, item: Item) -> bool:
        """Return True if the decision was about this very annotation."""
        return (self.abstract_sha256, self.shown_sha256) == item.digests


@dataclass(slots=True)
class ReviewLog:
    """The decisions on the papers of one gold table, created by `open_log`.

    Attributes:
        wrote: called with the SHA-256 of the table before it is put in place.
        own: the keys of rows that were not written by a review.
        restored: number of accepted rows that were missing from the table.
    """

    gold: GoldTable
    wrote: Callable[[str], None]
    own: set[str] = field(default_factory=set)
    restored: int = 0
    _decided: dict[str, list[Decision]] = field(default_factory=lambda: defaultdict(list))
    _order: list[Decision] = field(default_factory=list)
    _drafts: dict[str, Decision] = field(default_factory=dict)

    @property
    def journal(self) -> Path:
        return self.gold.target.with_name(f"{self.gold.target.stem}_review.jsonl")

    def decision(self, item: Item) -> Decision | None:
        """Return the decision about this very annotation, or None."""
        last = self._last(item.key)
        return last if last is not None and last.is_about(item) else None

    def status(self, item: Item) -> str:
        """Return "accepted", "edited" (and accepted), "rejected", "in_gold" or "to_do".

        "in_gold" is a paper that the gold table has from elsewhere.
        """
        decision = self.decision(item)
        if item.key in self.own:
            return "in_gold"
        if decision is None:
            return "to_do"
        if decision.what == "reject":
            return "rejected"
        return "edited" if decision.changed else "accepted"

    def was_decided(self, item: Item) -> bool:
        """Return True if the decision was about another annotation or abstract of the paper."""
        last = self._last(item.key)
        return last is not None and not last.is_about(item)

    def moves(self, item: Item) -> dict[str, str]:
        """Return the moves of a paper with the edits made so far."""
        draft = self._drafts.get(item.key)
        return dict(draft.moves if draft and draft.is_about(item) else item.moves)

    def last_of(self, items: Sequence[Item]) -> int | None:
        """Return the index of the annotation that was decided on last, or None."""
        places = {item.key: place for place, item in enumerate(items)}
        for decision in reversed(self._order):
            place = places.get(decision.key)
            if place is not None and self.status(items[place]) not in ("in_gold", "to_do"):
                return place
        return None

    def record(
        self, what: What, item: Item, moves: dict[str, str] | None = None, reason: str = ""
    ) -> None:
        """Append a decision to the journal and update the gold table.

        Args:
            moves: the moves after the decision, by default with the edits made so far.

        Raises:
            OutputError: the journal or the table cannot be written.
        """
        kept = moves or self.moves(item)
        decision = Decision(
            what=what,
            at=now(),
            paper=item.paper,
            abstract_sha256=item.paper.sha256,
            shown_sha256=item.moves_sha256,
            moves=kept,
            changed=tuple(name for name, text in item.moves.items() if kept[name] != text),
            reason=reason,
        )
        self._append(decision)
        self._apply(decision)
        if self._update_row(decision.key):
            self.gold.write(self.wrote)

    def replay(self, decisions: Iterator[Decision]) -> None:
        """Apply the decisions of the journal, and write the table if it differs from them."""
        accepted: defaultdict[str, set[bytes]] = defaultdict(set)
        for decision in decisions:
            self._apply(decision)
            if decision.what == "accept":
                accepted[decision.key].add(self.gold.line(decision.paper, decision.moves))
        rows = self.gold.rows
        self.own = {key for key in rows if isinstance(key, str) and rows[key] not in accepted[key]}
        before = set(rows)
        differs = [key for key in list(accepted) if self._update_row(key)]
        self.restored = len(rows.keys() - before)
        if differs:
            self.gold.write(self.wrote)

    def _last(self, key: str) -> Decision | None:
        decided = self._decided.get(key)
        return decided[-1] if decided else None

    def _apply(self, decision: Decision) -> None:
        key = decision.key
        if decision.what == "edit":
            self._drafts[key] = decision
        elif decision.what == "undo":
            if self._decided[key]:
                reverted = self._decided[key].pop()
                self._order.remove(reverted)
                self._drafts[key] = reverted  # keeps the edit of the decision
        else:
            self._decided[key].append(decision)
            self._order.append(decision)
            self._drafts.pop(key, None)

    def _update_row(self, key: str) -> bool:
        """Set the row of a paper by its last decision; return True if that changes the table."""
        if key in self.own:
            return False
        rows, last = self.gold.rows, self._last(key)
        before = rows.get(key)
        if last is not None and last.what == "accept":
            rows[key] = self.gold.line(last.paper, last.moves)
        else:
            rows.pop(key, None)
        return rows.get(key) != before

    def _append(self, decision: Decision) -> None:
        """Append a line to the journal and sync it to the disk."""
        end = self.journal.stat().st_size if self.journal.exists() else 0
        try:
            with self.journal.open("ab") as file:
                file.write(decision.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.truncate(self.journal, end)
            raise OutputError(
                f"the decision is not stored: {exc.strerror or exc}",
                where=shown(self.journal),
                hint="Those before it are stored; the same command continues from there.",
            ) from exc


def open_log(
    target: Path, framework: Framework, id_column: str, wrote: Callable[[str], None]
) -> ReviewLog:
    """Continue the review of a gold table, or begin one.

    Args:
        id_column: the id column of a new table.
        wrote: as in `ReviewLog`.

    Raises:
        UsageError, InputError: the target is not a gold table, or its journal is damaged.
        OutputError: the table cannot be updated.
    """
    log = ReviewLog(read_gold(target, framework, id_column), wrote)
    log.replay(_decisions(log.journal, framework))
    return log


def _decisions(journal: Path, framework: Framework) -> Iterator[Decision]:
    """Yield the lines of a journal; an incomplete last line is removed."""
    if not journal.exists():
        return
    try:
        text = journal.read_bytes()
        if not text.endswith(b"\n"):
            text = text[: text.rfind(b"\n") + 1]
            os.truncate(journal, len(text))
    except OSError as exc:
        raise unreadable(journal, exc) from exc
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            decision = Decision.model_validate_json(line)
        except ValidationError as exc:
            raise _damaged(journal, number, "is not a decision of a review") from exc
        if set(decision.moves) != set(framework.names):
            raise _damaged(journal, number, f"has other moves than the framework {framework.name}")
        yield decision


def _damaged(journal: Path, number: int, what: str) -> InputError:
    return InputError(
        what,
        where=place(journal, "line", number),
        hint="Repair the line, or move the file away: the gold table then stays as it is.",
    )
