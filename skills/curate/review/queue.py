"""The queue of one gold table, at which reviewers take their places."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from harness.support.process_lock import job_lock
from skills.curate.review.desk import Desk
from skills.curate.review.input import Candidates
from skills.curate.review.rounds import Order, retraining_line
from skills.curate.review.store.leases import open_leases
from skills.curate.review.store.log import open_log
from skills.nanda.framework import Framework


def name_lock(locks: Path, gold: Path, reviewer: str) -> AbstractContextManager[None]:
    """Lock the name of a reviewer at a gold table, which one process at a time may use.

    Raises:
        UsageError: another process holds the lock.
    """
    return job_lock(locks, f"{gold.resolve()}{f' by {reviewer}' if reviewer else ''}")


@dataclass(frozen=True, slots=True)
class Queue:
    """Where the decisions on annotations go.

    Attributes:
        gold: the gold table.
        corpus: the database, with the leases.
        locks: the folder for the lock of the journal.
        wrote: called with the SHA-256 of the gold table before it is put in place.
        double: share of papers that two reviewers decide on, from now on; None leaves it.
        framework_option: the value of `--framework`, None for the built-in one.
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
        """Return the place of a reviewer at these annotations, or at some of them.

        Args:
            sample, seed: see `Candidates.sample`.
            order: None puts those first that would teach most, unless they are a selection.

        Raises:
            InputError: the gold table cannot be used.
            UsageError, OutputError: the gold table or the corpus cannot be written.
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
