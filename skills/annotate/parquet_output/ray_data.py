"""/annotate TABLE save to FOLDER/ --on ray-data: annotate a table with Ray Data.

The driver is the process of the command. It reads the table, and writes batches of due papers to a
temporary file. A task on the driver's node runs the pipeline. In the pipeline, another task yields
each batch as a row of a data set. An actor from a pool annotates the batch, writes it as a part,
and returns its figures, such as numbers of papers and tokens. Only the figures reach the driver.
The parts are the only state: if a process is killed, the next run continues from the parts in the
folder.

The driver does not run the pipeline itself, since Ray Data executes a pipeline in threads. These
threads cannot be stopped through the public interface of Ray Data. If a process disconnects from
the cluster while the threads run, Ray Data sometimes ends the process.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import (
    ClusterUnavailable,
    HarnessError,
    ModelUnavailable,
    OutputError,
    UsageError,
)
from harness.models.cluster import node
from harness.models.cluster.connection import wait_for
from harness.models.cluster.executor import Rates, assignment
from harness.models.cluster.node import PROBE_SECONDS, Node
from harness.models.served import ServedModel
from harness.plugins.loader import node_backends
from harness.runs import cluster_placement
from harness.runs.jobs import Tally
from harness.runs.progress import ProgressEstimate, show_progress
from harness.support import ctrl_c
from harness.support.process import require
from harness.support.stop_token import TICK, StopToken
from skills.annotate.job import announcement
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
from skills.annotate.parquet_output.parts_job import BatchAnnotator, PartsJob, load_resolved
from skills.annotate.plan import TICK_ROWS, Source, source_of, usable_rows
from skills.annotate.table import add_hint, in_words, summary_of
from skills.corpus.table import Table, open_table
from skills.nanda.framework import Framework, task_of
from skills.nanda.text import counted

SMALLEST, LARGEST = 16, 64
"""Minimum and maximum number of papers in a batch.

Smaller batches would make too many files; with larger batches, a lost actor would lose more work.
"""
BATCH_PER_SLOT = 4
"""Number of papers in a batch for each slot.

At the end of a batch, slots are idle. Larger batches end less often.
"""


@dataclass(slots=True)
class Counts:
    """Counts of the rows of a table, and of the papers that earlier runs saved in parts.

    Attributes:
        source: the table, with its left-out rows; the papers are not in memory.
        rows: number of rows of the table that are not left out.
        done: number of papers that earlier runs annotated.
        failed: number of papers that earlier runs failed to annotate.
        due: number of papers that the run has to annotate.
        chars: total number of characters of the abstracts that are due.
    """

    source: Source
    rows: int = 0
    done: int = 0
    failed: int = 0
    due: int = 0
    chars: int = 0


def annotate_to_parts(call: Call, path: Path, framework: Framework) -> Result:
    """Annotate the papers of a table on a cluster, and write them to a folder of parts.

    Raises:
        UsageError: the parts in the folder belong to another job, or options do not apply.
        OutputError: a node cannot write into the folder.
        ModelError: the cluster cannot be used, or cannot load the model.
    """
    options = call.options
    _check_options(call)
    require("ray", "fsspec", extra="ray")
    table = open_table(  # raises errors before any work
        path, options.table_columns(), limit=options.limit, notice=call.screen.notice
    )
    folder = PartsFolder(folder_url(call.targets[0]))
    if folder.url == str(path.resolve()):
        raise UsageError("is the input itself", where=folder.url, hint="Save to another folder.")
    wanted = options.max_tokens, options.wording
    job = PartsJob(framework, folder, table.id_column or "id", new_run(), *wanted)
    folder.create()
    placement = cluster_placement.data_placement(call)

    # One actor is started first: it reports its model, and ends before the pool starts. After
    # Ctrl-C, disconnecting from the cluster takes a second or two, hence `ctrl_c.unlimited`.
    with (
        ctrl_c.unlimited(),
        cluster_placement.placed(call, replace(placement, actors=1), quietly=True),
        TemporaryDirectory(prefix="batches-") as temporary,
    ):

        def work(model: ServedModel) -> Result:
            room = node.find_room(placement)
            identity = job.identity(model)
            check_first(folder, identity)
            check_nodes(room.nodes, folder, job.run, call.cancel.check)
            call.models.pool.drop(model.resolution.chosen)
            folder.take_over(job.run)
            before = scan(folder, identity)
            is_due = partial(before.is_due, retry_failed=options.retry_failed)
            size = min(LARGEST, max(SMALLEST, BATCH_PER_SLOT * model.slots))
            batches = Path(temporary, "batches.gz")
            with call.screen.progress(f"reading {path.name}", reported=False) as tick:
                counts = write_batches(batches, table, before, is_due, size, tick)
            for name in before.broken:
                call.screen.notice(
                    f"{name} is incomplete and is not used; its name is now {BROKEN}{name}"
                )
            files, resolution = call.models.registry.files, model.resolution
            sent = assignment(resolution.chosen, files, node_backends, model.slots, room.cpus)
            load = partial(load_resolved, resolution, model.entry, sent)
            feed, annotator = partial(read_batches, batches), (job, load, identity)
            pipeline = Pipeline(feed, annotator, room.actors, room.cpus, placement.gpus)
            return run_pipeline(call, job, model, counts, pipeline)

        return call.models.run(task_of(framework, call.models.registry), work, slots=None)


def _check_options(call: Call) -> None:
    given = call.options.model_fields_set
    if other := [name for name in ("cascade", "db", "workers") if name in given]:
        raise UsageError(
            f"--{other[0]} does not go with --on ray-data",
            hint="`--slots M` sets the number of parallel requests of each actor."
            if other == ["workers"]
            else "Use the option without --on ray-data.",
        )


def write_batches(
    file: Path,
    table: Table,
    before: Scan,
    is_due: Callable[[bytes], bool],
    size: int,
    tick: Callable[[str], None] = lambda _: None,
) -> Counts:
    """Write the due papers of a table to a file, and return the counts of the rows.

    Each line of the file is the JSON of a batch: a list of at most `size` papers.

    Args:
        tick: called with the progress as text.

    Raises:
        InputError: the table cannot be read, or no row can be annotated.
    """
    counts = Counts(source_of(table, ()))
    with gzip.open(file, "wt", compresslevel=1, encoding="utf-8") as lines:
        batch = list[dict[str, Any]]()
        rows = usable_rows(counts.source, table.rows_or_errors())
        for counts.rows, row in enumerate(rows, start=1):
            if counts.rows % TICK_ROWS == 0:
                tick(f"{counts.rows:,} papers")
            key = paper_key(row.paper)
            counts.done += key in before.done
            counts.failed += key in before.failed and key not in before.done
            if is_due(key):
                counts.due += 1
                counts.chars += len(row.paper.abstract)
                batch.append(asdict(row.paper))
                if len(batch) == size:
                    lines.write(f"{json.dumps(batch)}\n")
                    batch.clear()
        if batch:
            lines.write(f"{json.dumps(batch)}\n")
    return counts


def read_batches(file: Path) -> Iterator[Mapping[str, str]]:
    """Yield each batch in a file of `write_batches`, as {"papers": JSON of a list of papers}."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield {"papers": line}


def run_pipeline(
    call: Call, job: PartsJob, model: ServedModel, counts: Counts, pipeline: Pipeline
) -> Result:
    """Annotate the papers that are due, print a summary, and return the result of the line.

    Args:
        model: the model that the first actor loaded and closed, for messages and the summary.

    Raises:
        ModelUnavailable: the model became unavailable, and neither this run nor an earlier run has
            annotated a paper. A fallback is then tried.
    """
    source, now, folder = counts.source, Tally(), job.folder.url
    errors, tokens = Counter[str](), Counter[str]()
    source.refused.report(call.screen)
    if call.options.retry_failed:
        counts.failed = 0  # the failed papers are due
    actors = f"{counted(pipeline.actors, 'actor')} with {counted(model.slots, 'slot')}"
    rows = counts.due, counts.done, counts.failed, source.filtered
    call.screen.notice(f"{source.name}: {announcement(f'on {actors} each', *rows)}")
    started = time.monotonic()
    pace = ProgressEstimate(counts.due, counts.chars, source.filtered.total(), unit="papers")
    with show_progress(pace, call.screen, "annotating") as update, call.cancel.on_signals():
        try:
            for part in figures(pipeline, call.cancel) if counts.due else ():
                now.done += part["done"]
                now.failed += part["failed"]
                errors.update(json.loads(part["errors"]))
                for kind in ("prompt", "completion"):
                    tokens[kind] += part[f"{kind}_tokens"]
                pace.done, pace.failed = now.done, now.failed
                pace.add_work(part["chars"], part["completion_tokens"])
                if isinstance(rates := call.screen.rates, Rates):
                    rates.add((part["node"], ""), part["completion_tokens"])
                update()
        except HarnessError as error:
            now.stopped = error
    if isinstance(now.stopped, ModelUnavailable) and not (now.done or counts.done):
        raise now.stopped
    errors["before"] += now.failed + counts.failed - errors.total()
    if now.stopped is not None:
        add_hint(now.stopped, f"The parts in {folder} are kept; the same line continues the job.")
    summary = {
        **summary_of(
            source,
            model,
            counts.rows,
            done=counts.done + now.done,
            made=now.done,
            failed_now=now.failed,
            errors=+errors,
            tokens=tokens,
            seconds=time.monotonic() - started,
        ),
        "folder": folder,
    }
    call.screen.notice(in_words(summary))
    return Result(
        summary=summary,
        exit_code=int(bool(summary["failed"] or source.refused)),
        stopped=now.stopped,
        next=f"/corpus add {folder}" if summary["done"] else "",
    )


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The settings of a pipeline.

    Attributes:
        feed: yields the batches, on the node of the driver. If batches are lost, Ray may call
            `feed` again, which then yields the same batches.
        annotator: the arguments for creating an actor.
        actors: maximum number of actors. One actor is always started, and more actors only if
            resources are free.
        cpus, gpus: the numbers of CPUs and GPUs that each actor reserves.
        worker: the class of the actors. An actor is called with a batch.
    """

    feed: Callable[[], Iterator[Mapping[str, str]]]
    annotator: tuple[Any, ...]
    actors: int
    cpus: float = 1
    gpus: float = 0
    worker: type = BatchAnnotator


def figures(pipeline: Pipeline, stop: StopToken) -> Iterator[dict[str, Any]]:
    """Run a pipeline, and yield the figures of each batch (`BatchAnnotator.__call__`).

    Raises:
        HarnessError: a batch or the cluster failed, the model cannot be loaded, or the run was
            interrupted.
    """
    import ray

    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    options = {"num_cpus": 0, "max_retries": 0, "label_selector": here}
    rows = ray.remote(_rows).options(num_returns="streaming", **options).remote(pipeline)
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
                last = str(exc).strip().rpartition("\n")[2][:300]
                raise ClusterUnavailable(
                    f"the cluster failed: {type(exc).__name__}: {last}"
                ) from exc
            yield row
            if row["error"]:
                raise pickle.loads(row["error"])  # noqa: S301  from an actor of this job
    finally:
        # Canceling the task also ends its pool, but fails if the cluster has disappeared.
        with contextlib.suppress(Exception):
            ray.cancel(rows, force=True)


def _rows(pipeline: Pipeline) -> Iterator[dict[str, Any]]:
    """Run a pipeline in this process, and yield the figures of each batch."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import ray
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask
    from ray.data.block import BlockMetadata

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised, not logged
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # A block ends when it is larger than one byte, so that each batch is a block. By default, Ray
    # would gather 128 MB, more rows than a model annotates in a day.
    context.target_max_block_size = 1

    class Batches(Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
            def read() -> Iterator[pa.Table]:
                for batch in pipeline.feed():
                    yield pa.table({name: [value] for name, value in batch.items()})

            return [ReadTask(read, BlockMetadata(None, None, None, None))]

    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    # The read task reserves no CPU. Ray thus does not fuse it with the pool, and it does not wait
    # for a CPU.
    batches = ray.data.read_datasource(
        Batches(), override_num_blocks=1, num_cpus=0, label_selector=here
    )
    parts = batches.map(
        pipeline.worker,
        fn_constructor_args=pipeline.annotator,
        compute=ActorPoolStrategy(
            min_size=1, max_size=pipeline.actors, max_tasks_in_flight_per_actor=2
        ),
        num_cpus=pipeline.cpus,
        num_gpus=pipeline.gpus,
    )
    yield from parts.iter_rows()


def check_nodes(
    nodes: Iterable[Node], folder: PartsFolder, run: str, check: Callable[[], None]
) -> None:
    """Run a task on each node to check that the folder is shared and writable, and has space.

    Args:
        check: called repeatedly while waiting; an error that it raises ends the waiting.

    Raises:
        OutputError: a node cannot write parts. The message names each such node with the reason.
    """
    import ray

    examine = ray.remote(PartsFolder.problem)
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
