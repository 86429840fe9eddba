"""Look up many papers at one source by their identifiers, in batches, as a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.errors import HarnessError, SourceUnavailable
from harness.runs.jobs import Job
from harness.support.stopping.stop_token import StopToken
from skills.corpus.db.lookups.facts import TITLE
from skills.corpus.lookups.sources.source import Source
from skills.corpus.records import Found


@dataclass(frozen=True, slots=True)
class Wanted:
    """A paper to look up.

    Attributes:
        key: its number for the caller.
        identifiers: by kind.
    """

    key: int
    identifiers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Papers that one request returns, by identifiers of one kind."""

    kind: str
    papers: tuple[Wanted, ...]

    @property
    def values(self) -> list[str]:
        return list(dict.fromkeys(paper.identifiers[self.kind] for paper in self.papers))


@dataclass(slots=True)
class Answers:
    """How a source has answered, in papers.

    Attributes:
        left: papers that were not requested, or whose request failed; the same line repeats them.
        requests: those that were sent; the others are answered from the cache.
        errors: of the requests that failed, each once.
        stopped: why the run ended early.
    """

    found: int = 0
    unknown: int = 0
    left: int = 0
    requests: int = 0
    errors: list[str] = field(default_factory=list)
    stopped: HarnessError | None = None


def batches(source: Source, wanted: Iterable[Wanted]) -> Iterator[Batch]:
    """Yield the requests for papers, in order, without those that it has no identifier of."""
    waiting: dict[str, list[Wanted]] = {kind: [] for kind in source.kinds}
    for paper in wanted:
        kind = next((kind for kind in source.kinds if kind in paper.identifiers), None)
        if kind is None:
            continue
        waiting[kind].append(paper)
        if len(waiting[kind]) == (1 if kind == TITLE else source.rates.batch):
            yield Batch(kind, tuple(waiting[kind]))
            waiting[kind] = []
    for kind, papers in waiting.items():
        if papers:
            yield Batch(kind, tuple(papers))


def requests_of(source: Source, batch: Batch) -> int:
    """Return how many requests a batch takes."""
    return source.rates.requests.get(batch.kind, 1)


def look_up(
    source: Source,
    wanted: Iterable[Wanted],
    keep: Callable[[Wanted, Found | None], None],
    stop: StopToken,
    *,
    most: int | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Answers:
    """Look papers up at a source, and keep each answer at once.

    A request that fails does not affect the others, unless the source is unavailable: no further
    one is made then.

    Args:
        keep: stores what was found about a paper, or None if the source does not know it.
        most: requests at most.
        tick: receives the number of papers that are done.
    """
    before = source.access.sent
    steps = _Steps(source, keep, tick)
    job = Job(steps.perform, steps.store, steps.refuse, 1, stop)
    tally = job.run(steps.tasks(batches(source, wanted), most))
    steps.made.requests = source.access.sent - before
    steps.made.stopped = tally.stopped
    return steps.made


@dataclass(slots=True)
class _Steps:
    """The steps of the job.

    Attributes:
        gone: why the source serves no request.
    """

    source: Source
    keep: Callable[[Wanted, Found | None], None]
    tick: Callable[[int], None]
    made: Answers = field(default_factory=Answers)
    gone: SourceUnavailable | None = None

    def tasks(self, planned: Iterable[Batch], most: int | None) -> Iterator[Batch]:
        """Yield the batches to request; the papers of the others are left."""
        requests = 0
        for batch in planned:
            requests += requests_of(self.source, batch)
            if self.gone or (most is not None and requests > most):
                self.made.left += len(batch.papers)
            else:
                yield batch

    def perform(self, batch: Batch) -> dict[str, Found]:
        if self.gone:
            raise self.gone
        try:
            return self.source.by_ids(batch.kind, batch.values)
        except SourceUnavailable as error:
            self.gone = error  # before the next batch begins, in this thread
            raise

    def store(self, batch: Batch, found: Mapping[str, Found]) -> None:
        for paper in batch.papers:
            one = found.get(paper.identifiers[batch.kind])
            self.keep(paper, one)
            self.made.found += one is not None
            self.made.unknown += one is None
        self.tick(self.made.found + self.made.unknown)

    def refuse(self, batch: Batch, error: Exception) -> None:
        self.made.left += len(batch.papers)
        reason = str(error) if isinstance(error, HarnessError) else repr(error)
        if reason not in self.made.errors:
            self.made.errors.append(reason)
