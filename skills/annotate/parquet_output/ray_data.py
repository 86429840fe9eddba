"""/annotate TABLE save to FOLDER/ --on ray-data: table -> batches -> pool of models -> figures.

A task on the node of the driver runs the pipeline of Ray Data. In it, another task reads the table
and yields a batch in each row of the data set; an actor of the pool annotates a batch, writes its
part, and returns its figures, which alone reach the driver. The parts are the only state: whatever
is killed, the next run begins with those in the folder.

The driver does not run the pipeline itself: Ray Data executes it in threads that nothing public
stops, and a process that disconnects from the cluster while they run is ended by Ray now and then.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.skill import Call, Result
from harness.errors import (
    ClusterUnavailable,
    HarnessError,
    InputError,
    Interrupted,
    ModelUnavailable,
    OutputError,
    UsageError,
)
from harness.models.cluster import node
from harness.models.cluster.connection import Placement, wait_for
from harness.models.cluster.executor import Rates, assignment
from harness.models.cluster.node import PROBE_SECONDS, Node, Room
from harness.models.served import ServedModel
from harness.plugins.discovery import node_backends
from harness.runs import cluster_placement
from harness.runs.progress import ProgressEstimate, show_progress
from harness.support import ctrl_c
from harness.support.process import require
from harness.support.stop_token import TICK, StopToken
from harness.support.text_input import shown
from skills.annotate.parquet_output.parts_folder import (
    BROKEN,
    PartsFolder,
    Scan,
    check_first,
    folder_url,
    new_run,
    paper_key,
    scan,
)
from skills.annotate.parquet_output.parts_job import BatchAnnotator, ModelSource, PartsJob
from skills.annotate.plan import reason_to_leave_out
from skills.annotate.table import in_words
from skills.corpus.table import Columns, TableRow, open_table
from skills.corpus.tables.refusals import Refusals
from skills.nanda.framework import Framework
from skills.nanda.framework_option import task_of
from skills.nanda.paper import Paper
from skills.nanda.text import counted

SMALLEST, LARGEST = 16, 64
"""Papers of a batch: a lost actor costs the work on it, and a part is a file."""
BATCH_PER_SLOT = 4
"""Papers of a batch for each slot: while the last of them end, other slots are idle."""


@dataclass(slots=True)
class PartsRun:
    """One run of a job: what the parts hold before it, and what it adds.

    Attributes:
        model: as one node has loaded it; it is closed.
        room: the nodes, and the actors that fit on them.
        counts: the table, in rows.
    """

    call: Call
    job: PartsJob
    table: Input
    model: ServedModel
    placement: Placement
    room: Room
    before: Scan
    counts: Counts
    done: int = 0
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def run(self, identity: Mapping[str, Any]) -> Result:
        """Annotate what is due.

        Raises:
            ModelUnavailable: nothing is done, so that another model can serve.
        """
        self._announce()
        started = time.monotonic()
        stopped = self._annotate(identity) if self.counts.due else None
        if isinstance(stopped, ModelUnavailable) and not (self.done or self.counts.done):
            raise stopped
        return self._result(stopped, time.monotonic() - started)

    def _annotate(self, identity: Mapping[str, Any]) -> HarnessError | None:
        """Run the pipeline; return why some papers remain."""
        counts, call, room = self.counts, self.call, self.room
        size = min(LARGEST, max(SMALLEST, BATCH_PER_SLOT * self.model.slots))
        pipeline = Pipeline(
            partial(batches, table=self.table, retry_failed=self._retry, size=size),
            self.before,
            (self.job, self._source().load, identity),
            room.actors,
            room.cpus,
            self.placement.gpus,
        )
        pace = ProgressEstimate(counts.due, counts.chars, counts.filtered.total(), unit="papers")
        with show_progress(pace, call.screen, "annotating") as update, call.cancel.on_signals():
            try:
                for part in figures(pipeline, call.cancel):
                    self._add(part, pace)
                    update()
            except HarnessError as error:
                return error
        return None

    def _source(self) -> ModelSource:
        files = self.call.models.registry.files
        resolution, slots = self.model.resolution, self.model.slots
        sent = assignment(resolution.chosen, files, node_backends, slots, self.room.cpus)
        return ModelSource(resolution, self.model.entry, sent)

    def _add(self, part: dict[str, Any], pace: ProgressEstimate) -> None:
        self.done += part["done"]
        self.failed += part["failed"]
        self.errors.update(json.loads(part["errors"]))
        for kind in ("prompt", "completion"):
            self.tokens[kind] += part[f"{kind}_tokens"]
        pace.done, pace.failed = self.done, self.failed
        pace.add_work(part["chars"], part["completion_tokens"])
        if isinstance(rates := self.call.screen.rates, Rates):
            rates.add((part["node"], ""), part["completion_tokens"])

    @property
    def _retry(self) -> bool:
        return bool(self.call.options.retry_failed)

    def _announce(self) -> None:
        """Print what the run has to do."""
        counts, screen = self.counts, self.call.screen
        counts.refused.report(screen)
        for name in self.before.broken:
            screen.notice(f"{name} is not whole and is passed over; it is now {BROKEN}{name}")
        actors = f"{counted(self.room.actors, 'actor')} with {counted(self.model.slots, 'slot')}"
        parts = [f"{counted(counts.due, 'paper')} to do, on {actors} each"]
        parts += [f"{counts.done:,} done before"] * bool(counts.done)
        if counts.failed and not self._retry:
            parts.append(f"{counts.failed:,} failed before (--retry-failed repeats them)")
        parts += [f"{n:,} left out ({reason})" for reason, n in counts.filtered.items()]
        screen.notice(f"{self.table.path}: {'; '.join(parts)}")

    def _result(self, stopped: HarnessError | None, seconds: float) -> Result:
        """Return the result of the line."""
        counts, folder = self.counts, self.job.folder.url
        done = counts.done + self.done
        failed = self.failed + counts.failed * (not self._retry)
        errors = Counter(self.errors)
        errors["before"] += failed - errors.total()
        pending = counts.due - self.done - self.failed
        if stopped is not None:
            kept = f"The parts in {folder} are kept"
            before = "" if isinstance(stopped, Interrupted) or not stopped.hint else stopped.hint
            stopped.hint = f"{before} {kept}; the same line continues the job.".lstrip()
        summary = {
            "input": str(self.table.path),
            "rows": counts.rows,
            "done": done,
            "made": self.done,
            "failed_now": self.failed,
            "failed": failed,
            "errors": {kind: n for kind, n in errors.most_common() if n},
            "filtered": dict(counts.filtered),
            "refused": counts.refused.as_json(),
            "pending": pending,
            "model": self.model.resolution.resolved,
            "answered_by": self.model.about,
            "tokens": dict(self.tokens),
            "tokens_per_second": round(self.tokens["completion"] / max(seconds, 0.1), 1),
            "seconds": round(seconds, 1),
            "folder": folder,
        }
        self.call.screen.notice(in_words(summary))
        return Result(
            summary=summary,
            exit_code=int(bool(failed or counts.refused)),
            stopped=stopped,
            next=f"/corpus add {folder}" if done else "",
        )


def annotate_to_parts(call: Call, path: Path, framework: Framework) -> Result:
    """Annotate the papers of a table on a cluster, into a folder of Parquet parts.

    Raises:
        UsageError: the parts in the folder belong to another job, or options do not apply.
        OutputError: a node cannot write into the folder.
        ModelError: the cluster cannot be used, or loads no model.
    """
    options = call.options
    _check_options(call)
    require("ray", "fsspec", extra="ray")
    columns = options.table_columns()
    opened = open_table(path, columns, notice=call.screen.notice)  # raises before any work
    table = Input(path.resolve(), columns, options.limit)
    folder = PartsFolder(folder_url(call.targets[0]))
    wanted = options.max_tokens, options.wording
    if folder.url == str(table.path):
        raise UsageError("is the input itself", where=folder.url, hint="Save to another folder.")
    job = PartsJob(framework, folder, opened.id_column or "id", new_run(), *wanted)
    folder.create()
    placement = cluster_placement.data_placement(call)

    # One actor first: it tells which model it is, and then makes room for the pool. Ctrl-C is
    # noticed at once; disconnecting from the cluster takes a second or two.
    with (
        ctrl_c.unlimited(),
        cluster_placement.placed(call, replace(placement, actors=1), quietly=True),
    ):

        def work(model: ServedModel) -> Result:
            room = node.find_room(placement)
            identity = job.identity(model)
            check_first(folder, identity)
            check_nodes(room.nodes, folder, job.run, call.cancel.check)
            call.models.pool.drop(model.resolution.chosen)
            folder.take_over(job.run)
            before = scan(folder, identity)
            with call.screen.progress(f"reading {path.name}", reported=False) as tick:
                counts = count(table, before, retry_failed=options.retry_failed, tick=tick)
            return PartsRun(call, job, table, model, placement, room, before, counts).run(identity)

        return call.models.run(task_of(framework, call.models.registry), work, slots=None)


def _check_options(call: Call) -> None:
    given = call.options.model_fields_set
    if other := [name for name in ("cascade", "db", "workers") if name in given]:
        raise UsageError(
            f"--{other[0]} does not go with --on ray-data",
            hint="`--slots M` sets the parallel requests of each actor."
            if other == ["workers"]
            else "Use it without a folder of parts.",
        )


TICK_ROWS = 1000
"""Rows between two reports of the progress."""


@dataclass(frozen=True, slots=True)
class Input:
    """A table of papers, as the driver and the node that reads it open it."""

    path: Path
    columns: Columns
    limit: int | None = None

    def rows(self) -> Iterator[TableRow | InputError]:
        """Yield the rows, or why one is refused.

        Raises:
            InputError: the table cannot be read.
        """
        return open_table(self.path, self.columns, limit=self.limit).rows_or_errors()


@dataclass(slots=True)
class Counts:
    """What a table holds, in rows.

    Attributes:
        done, failed: before the run.
        due: what the run has to annotate.
        chars: of the abstracts that are due.
    """

    rows: int = 0
    done: int = 0
    failed: int = 0
    due: int = 0
    chars: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    refused: Refusals = field(default_factory=Refusals)


def count(
    table: Input,
    before: Scan,
    *,
    retry_failed: bool,
    tick: Callable[[str], None] = lambda _: None,
) -> Counts:
    """Read the whole table once, before any work, and count its rows.

    Args:
        tick: called with the progress.

    Raises:
        InputError: the table cannot be read, or has no paper to annotate.
    """
    found = Counts()
    for found.rows, row in enumerate(table.rows(), start=1):
        if found.rows % TICK_ROWS == 0:
            tick(f"{found.rows:,} rows")
        if isinstance(row, InputError):
            found.refused.add(row)
            found.filtered["refused"] += 1
        elif reason := reason_to_leave_out(row.paper, repeat=row.repeat):
            found.filtered[reason] += 1
        else:
            key = paper_key(row.paper)
            found.done += key in before.done
            found.failed += key in before.failed and key not in before.done
            if before.is_due(key, retry_failed=retry_failed):
                found.due += 1
                found.chars += len(row.paper.abstract)
    if found.rows == found.filtered.total():
        found.refused.raise_first()
        what = "no row has an abstract" if found.rows else "has no rows below its header"
        raise InputError(what, where=shown(table.path))
    return found


def batches(
    before: Scan, *, table: Input, retry_failed: bool, size: int
) -> Iterator[Mapping[str, str]]:
    """Yield the papers that are due, `size` at a time, as `BatchAnnotator` takes them."""
    papers = _papers(table)
    due = (p for p in papers if before.is_due(paper_key(p), retry_failed=retry_failed))
    while batch := list(itertools.islice(due, size)):
        yield {"papers": json.dumps([asdict(paper) for paper in batch])}


def _papers(table: Input) -> Iterator[Paper]:
    for row in table.rows():
        if isinstance(row, InputError) or reason_to_leave_out(row.paper, repeat=row.repeat):
            continue
        yield row.paper


if TYPE_CHECKING:
    from ray.data import Dataset

Feed = Callable[[Any], Iterator[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What a pipeline does.

    Attributes:
        feed: yields the batches, on the node of the driver. Ray may call it again, if batches are
            lost, and then it yields the same ones.
        before: the argument of `feed`: what was done before, or Ray's reference to it.
        annotator: the arguments of `worker`.
        actors: at most; at least one, and as many as there is room for.
        cpus, gpus: what each of them reserves.
        worker: the class of the actors, called with a batch.
    """

    feed: Feed
    before: Any
    annotator: tuple[Any, ...]
    actors: int
    cpus: float = 1
    gpus: float = 0
    worker: type = BatchAnnotator


def figures(pipeline: Pipeline, stop: StopToken) -> Iterator[dict[str, Any]]:
    """Run a pipeline, and yield the figures of each part (`BatchAnnotator.__call__`).

    Raises:
        HarnessError: that of a batch or of a model that cannot be loaded, Interrupted included.
    """
    import ray

    sent = replace(pipeline, before=ray.put(pipeline.before))
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    options = {"num_cpus": 0, "max_retries": 0, "label_selector": here}
    rows = ray.remote(_rows).options(num_returns="streaming", **options).remote(sent)
    try:
        while True:
            stop.check()
            if not ray.wait([rows], timeout=TICK)[0]:
                continue
            try:
                row = ray.get(next(rows))
            except StopIteration:
                return
            except ray.exceptions.RayError as exc:
                raise _lost(exc) from exc
            yield row
            if row["error"]:
                raise pickle.loads(row["error"])  # noqa: S301  from an actor of this job
    finally:
        # Ends the pool, too, which belongs to the task. The cluster may be gone.
        with contextlib.suppress(Exception):
            ray.cancel(rows, force=True)


def _rows(pipeline: Pipeline) -> Iterator[dict[str, Any]]:
    """Yield the rows of the data set that the pipeline computes."""
    yield from _dataset(pipeline).iter_rows()


def _dataset(pipeline: Pipeline) -> Dataset:
    import pyarrow as pa  # type: ignore[import-untyped]
    import ray
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask
    from ray.data.block import BlockMetadata

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # A block ends as soon as it is larger than this: one batch a block. Ray would gather 128 MB,
    # more rows than a model annotates in a day.
    context.target_max_block_size = 1

    feed, before = pipeline.feed, pipeline.before

    class Batches(Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
            def read() -> Iterator[pa.Table]:
                for batch in feed(ray.get(before)):
                    yield pa.table({name: [value] for name, value in batch.items()})

            return [ReadTask(read, BlockMetadata(None, None, None, None))]

    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    # Without a CPU of its own the task is never fused with the pool, nor does it wait for one.
    return ray.data.read_datasource(
        Batches(), override_num_blocks=1, num_cpus=0, label_selector=here
    ).map(
        pipeline.worker,
        fn_constructor_args=pipeline.annotator,
        compute=ActorPoolStrategy(
            min_size=1, max_size=pipeline.actors, max_tasks_in_flight_per_actor=2
        ),
        num_cpus=pipeline.cpus,
        num_gpus=pipeline.gpus,
    )


def _lost(error: BaseException) -> ClusterUnavailable:
    """Return the error for a pipeline that Ray has ended."""
    lines = str(error).strip().splitlines() or [""]
    return ClusterUnavailable(f"the cluster failed: {type(error).__name__}: {lines[-1][:300]}")


def check_nodes(
    nodes: Iterable[Node], folder: PartsFolder, run: str, check: Callable[[], None]
) -> None:
    """Check with a task on each node that the folder is shared, can be written, and has space.

    Args:
        check: called while waiting; may raise.

    Raises:
        OutputError: naming each node that cannot write parts, with its reason.
    """
    import ray

    examine = ray.remote(_problem)
    pending, problems = {}, []
    with folder.marked(run):
        for node in nodes:
            there = {"ray.io/node-id": node.id}
            task = examine.options(num_cpus=0, max_retries=0, label_selector=there)
            pending[node] = task.remote(folder, run).future()
        for node, future in pending.items():
            try:
                problem = wait_for(future, check, PROBE_SECONDS)
            except (TimeoutError, ray.exceptions.RayError) as exc:
                problem = f"gives no answer: {type(exc).__name__}"
            problems += [f"node {node.name} {problem}"] * bool(problem)
    if problems:
        raise OutputError(
            "; ".join(problems), hint="Save to a folder or URL that all nodes can write to."
        )


def _problem(folder: PartsFolder, run: str) -> str:
    return folder.problem(run)
