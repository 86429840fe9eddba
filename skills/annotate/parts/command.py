"""/annotate TABLE save to FOLDER/ --on ray-data."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.api.skill import Call, Result
from harness.errors import HarnessError, Interrupted, ModelUnavailable, UsageError
from harness.models.cluster import probe
from harness.models.cluster.address import Placement
from harness.models.cluster.executor import assignment
from harness.models.cluster.probe import Room
from harness.models.cluster.rates import Rates
from harness.models.served import ServedModel
from harness.plugins.node_backends import node_backends
from harness.runs import placing
from harness.runs.progress import ProgressEstimate, show_progress
from harness.support.optional_deps import require
from harness.support.reading.text_input import at_home
from harness.support.stopping import ctrl_c
from skills.annotate.parts import feed
from skills.annotate.parts.feed import Counts, Input
from skills.annotate.parts.folder import BROKEN, PartsFolder, folder_url, new_run
from skills.annotate.parts.job import PartsJob
from skills.annotate.parts.nodes import check_nodes
from skills.annotate.parts.pipeline import Pipeline, figures
from skills.annotate.parts.scan import Scan, check_first, scan
from skills.annotate.parts.worker import ModelSource
from skills.annotate.table.result import in_words
from skills.corpus.tables.reader import open_table
from skills.nanda.framework import Framework
from skills.nanda.framework_option import task_of
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
            partial(feed.batches, table=self.table, retry_failed=self._retry, size=size),
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
    path = at_home(path)
    columns = options.table_columns()
    opened = open_table(path, columns, notice=call.screen.notice)  # raises before any work
    table = Input(path.resolve(), columns, options.limit)
    folder = PartsFolder(folder_url(call.targets[0]))
    wanted = options.max_tokens, options.wording
    if folder.url == str(table.path):
        raise UsageError("is the input itself", where=folder.url, hint="Save to another folder.")
    job = PartsJob(framework, folder, opened.id_column or "id", new_run(), *wanted)
    folder.create()
    placement = placing.data_placement(call)

    # One actor first: it tells which model it is, and then makes room for the pool. Ctrl-C is
    # noticed at once; disconnecting from the cluster takes a second or two.
    with ctrl_c.unlimited(), placing.placed(call, replace(placement, actors=1), quietly=True):

        def work(model: ServedModel) -> Result:
            room = probe.room(placement)
            identity = job.identity(model)
            check_first(folder, identity)
            check_nodes(room.nodes, folder, job.run, call.cancel.check)
            call.models.pool.drop(model.resolution.chosen)
            folder.take_over(job.run)
            before = scan(folder, identity)
            with call.screen.progress(f"reading {path.name}", reported=False) as tick:
                counts = feed.count(table, before, retry_failed=options.retry_failed, tick=tick)
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
