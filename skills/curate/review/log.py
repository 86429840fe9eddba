"""What a review has decided: a journal of every decision, from which the gold table follows.

The journal GOLD_review.jsonl stands beside the table. A decision is appended to it and synced
before the table is written, so that a process that is killed in between loses nothing: the next one
brings the table up to date. What the journal never said of a row is a person's own: such rows stay
as they are, and their papers count as decided.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import InputError, OutputError
from harness.support.text_input import place, shown, unreadable
from skills.corpus.tables.reader import paper_key
from skills.curate.review.gold import GoldTable, read_gold
from skills.curate.review.input import Candidate
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper


class Decision(BaseModel):
    """One line of the journal.

    Attributes:
        what: "edit" changes moves of a paper that is not decided on yet; "undo" takes the paper's
            last decision back.
        at: the time, UTC, to the second.
        abstract_sha256, shown_sha256: of the abstract and the moves that were to be reviewed.
        moves: as they are after it.
        changed: which of them are others than those that were to be reviewed.
        reason: why the paper was rejected, where somebody said so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Literal["accept", "reject", "edit", "undo"]
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

    def is_about(self, candidate: Candidate) -> bool:
        """Whether the paper's annotation is still the one that this was decided on."""
        return (self.abstract_sha256, self.shown_sha256) == candidate.digests


@dataclass(slots=True)
class ReviewLog:
    """The decisions on the papers of one gold table. `open_log` makes it.

    Attributes:
        wrote: told the sha256 of the table just before it is put in place, each time.
        own: the keys of rows that no review wrote.
        restored: how many rows of the journal the table lacked.
    """

    gold: GoldTable
    wrote: Callable[[str], None]
    own: set[str] = field(default_factory=set)
    restored: int = 0
    _standing: dict[str, list[Decision]] = field(default_factory=lambda: defaultdict(list))
    _order: list[Decision] = field(default_factory=list)
    _drafts: dict[str, Decision] = field(default_factory=dict)

    @property
    def journal(self) -> Path:
        return journal_of(self.gold.target)

    def decision(self, candidate: Candidate) -> Decision | None:
        """What was decided on this very annotation."""
        last = self._last(candidate.key)
        return last if last is not None and last.is_about(candidate) else None

    def is_decided(self, candidate: Candidate) -> bool:
        """Whether there is nothing to decide: it was done, or the gold table has the paper."""
        return candidate.key in self.own or self.decision(candidate) is not None

    def was_decided(self, candidate: Candidate) -> bool:
        """Whether the paper was decided on with another annotation or abstract."""
        last = self._last(candidate.key)
        return last is not None and not last.is_about(candidate)

    def moves(self, candidate: Candidate) -> dict[str, str]:
        """The moves of a paper with the edits made so far."""
        draft = self._drafts.get(candidate.key)
        return dict(draft.moves if draft and draft.is_about(candidate) else candidate.moves)

    def last_of(self, candidates: Mapping[str, Candidate]) -> Candidate | None:
        """The one of these, by their keys, that was decided on last."""
        for decision in reversed(self._order):
            candidate = candidates.get(decision.key)
            if candidate and candidate.key not in self.own and decision.is_about(candidate):
                return candidate
        return None

    def record(self, decision: Decision) -> None:
        """Keep a decision and bring the gold table up to date.

        Raises:
            OutputError: the journal or the table cannot be written. What the journal has is kept.
        """
        self._append(decision)
        self._apply(decision)
        if self._place(decision.key):
            self.gold.write(self.wrote)

    def replay(self, decisions: Iterator[Decision]) -> None:
        """Take up what the journal holds, and write the table where it is not what follows."""
        said: defaultdict[str, set[bytes]] = defaultdict(set)
        for decision in decisions:
            self._apply(decision)
            if decision.what == "accept":
                said[decision.key].add(self.gold.line(decision.paper, decision.moves))
        rows = self.gold.rows
        self.own = {key for key in rows if isinstance(key, str) and rows[key] not in said[key]}
        before = set(rows)
        differs = [key for key in list(said) if self._place(key)]
        self.restored = len(rows.keys() - before)
        if differs:
            self.gold.write(self.wrote)

    def _last(self, key: str) -> Decision | None:
        standing = self._standing.get(key)
        return standing[-1] if standing else None

    def _apply(self, decision: Decision) -> None:
        key = decision.key
        if decision.what == "edit":
            self._drafts[key] = decision
        elif decision.what == "undo":
            taken_back = self._standing[key].pop()
            self._order.remove(taken_back)
            self._drafts[key] = taken_back  # an edit is not lost with the decision
        else:
            self._standing[key].append(decision)
            self._order.append(decision)
            self._drafts.pop(key, None)

    def _place(self, key: str) -> bool:
        """Give a paper the row that its last decision asks for; whether that changes the table."""
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
        """Add a line to the journal; it is on the disk when this returns."""
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
                f"the decision is not kept: {exc.strerror or exc}",
                where=shown(self.journal),
                hint="Those before it are kept; the same line goes on from there.",
            ) from exc


def journal_of(target: Path) -> Path:
    """The journal of a gold table."""
    return target.with_name(f"{target.stem}_review.jsonl")


def open_log(
    target: Path, framework: Framework, id_column: str, wrote: Callable[[str], None]
) -> ReviewLog:
    """Take up the review of a gold table where it was left, or begin one.

    Args:
        id_column: what a new table calls its ids.
        wrote: as in `ReviewLog`.

    Raises:
        UsageError, InputError: the target is no table of gold, or its journal is damaged.
        OutputError: the table has to be brought up to date and cannot be.
    """
    log = ReviewLog(read_gold(target, framework, id_column), wrote)
    log.replay(_decisions(log.journal, framework))
    return log


def _decisions(journal: Path, framework: Framework) -> Iterator[Decision]:
    """The lines of a journal. One that was not written to its end is cut off: it was never kept."""
    if not journal.exists():
        return
    try:
        text = journal.read_bytes()
        if not text.endswith(b"\n"):
            text = text[: text.rfind(b"\n") + 1]
            os.truncate(journal, len(text))
    except OSError as exc:
        raise unreadable(journal, exc) from exc
    standing: defaultdict[str, int] = defaultdict(int)
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            decision = Decision.model_validate_json(line)
        except ValidationError as exc:
            raise _damaged(journal, number, "is no decision of a review") from exc
        if set(decision.moves) != set(framework.names):
            raise _damaged(journal, number, f"has other moves than the framework {framework.name}")
        standing[decision.key] += {"undo": -1, "edit": 0}.get(decision.what, 1)
        if standing[decision.key] < 0:
            raise _damaged(journal, number, "takes back what was never decided")
        yield decision


def _damaged(journal: Path, number: int, what: str) -> InputError:
    return InputError(
        what,
        where=place(journal, "line", number),
        hint="Mend the line, or move the file away: the rows of the gold table then stay as "
        "they are.",
    )
