"""The pipeline of Ray Data that writes the parts: table -> batches -> pool of models -> figures.

A task on the node of the driver runs the pipeline. In it, another task reads the table and yields a
batch in each row of the data set; an actor of the pool annotates a batch, writes its part, and
returns its figures, which alone reach the driver. The parts are the only state: whatever is killed,
the next run begins with those in the folder.

The driver does not run the pipeline itself: Ray Data executes it in threads that nothing public
stops, and a process that disconnects from the cluster while they run is ended by Ray now and then.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.errors import ClusterUnavailable
from harness.support.stopping.stop_token import TICK, StopToken
from skills.annotate.parts.worker import BatchAnnotator

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
