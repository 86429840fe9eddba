"""Annotate papers in this process or on the nodes of a cluster, and write a folder of parts.

This module does not import Ray.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.api.skill import Call
from harness.errors import ChecksumMismatch, HarnessError, UsageError
from harness.models.cluster import node
from harness.models.cluster.node import Assignment
from harness.models.pool import Resolution
from harness.models.registry import ModelEntry
from harness.models.served import ServedModel, Usage
from harness.support.process import require
from harness.support.stop_token import StopToken
from skills.annotate.annotator import Annotator
from skills.annotate.job import Task, annotate_tasks, failure_of, task_of
from skills.annotate.parquet_output.parts_folder import (
    KEY_BYTES,
    Failed,
    PartsFolder,
    check_first,
    encode,
    folder_url,
    new_run,
    paper_key,
    part_keys,
    part_name,
    part_schema,
    scan,
)
from skills.annotate.plan import Source
from skills.annotate.table import Finished, annotate_source
from skills.corpus.options import Wording
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper

_SAMPLE = Paper("id", "sample", "", "We present one method, and it is faster than another one.")
"""A fixed paper; the content key of its annotation request identifies a job."""
Load = Callable[[], ServedModel]
LARGEST = 1000
"""Maximum number of papers in a part that is written from the corpus."""


@dataclass(frozen=True, slots=True)
class PartsJob:
    """The settings of a job that writes parts.

    The settings are sent to the nodes.

    Attributes:
        id_column: the name of the id column of the input.
        run: the name of the run that may write parts (`PartsFolder.take_over`).
    """

    framework: Framework
    folder: PartsFolder
    id_column: str
    run: str
    max_tokens: int | None = None
    wording: Wording | None = None

    def annotator(self, model: ServedModel) -> Annotator:
        """Return the annotator of the job for a model."""
        return Annotator(model, self.framework, self.max_tokens, self.wording)

    def identity(self, model: ServedModel) -> dict[str, Any]:
        """Return the identity of the job, which two runs must share to write into one folder.

        Only the value `key` is compared: the content key for a fixed abstract. Every setting that
        determines annotations changes the key. Error messages use the other values to state the
        difference between two jobs.
        """
        made = self.annotator(model).prepare(_SAMPLE).provenance
        named = ("framework", "resolved", "form", "digests", "sampling", "decoding")
        return {"key": made["key"], **{name: made[name] for name in named}}


def load_resolved(resolution: Resolution, entry: ModelEntry, assignment: Assignment) -> ServedModel:
    """Load a resolved model in this process, which is an actor on a node.

    Raises:
        HarnessError: `node.load` failed.
    """
    model = node.load(assignment)
    return ServedModel(resolution, entry, model, Usage(), slots=model.slots)


class BatchAnnotator:
    """An actor of Ray Data that loads a model, and annotates one batch after the other.

    Ray passes on only the text of an exception. An error of the harness that ends the job is
    therefore pickled, and returned in the figures under "error". Without such an error, the value
    is b"".

    Args:
        load: loads the model on this node.
        identity: the identity of the job (`PartsJob.identity`), which all nodes must share.
    """

    def __init__(self, job: PartsJob, load: Load, identity: Mapping[str, Any]) -> None:
        self._job, self._identity = job, identity
        self._schema = part_schema(job.framework, job.id_column, identity)
        self._model: ServedModel | HarnessError
        try:
            self._model = load()
            found = job.identity(self._model)
            if found["key"] != identity["key"]:
                raise ChecksumMismatch(
                    f"this node has another model or version: {found['digests']}, "
                    f"instead of {identity['digests']}",
                    where=platform.node(),
                    hint="Give all nodes the same weights and the same version of the harness.",
                )
        except HarnessError as error:
            self._model = error

    def __call__(self, batch: Mapping[str, str]) -> dict[str, Any]:
        """Annotate a batch, write it as a part, and return figures such as `done` and `failed`.

        Ray repeats the batch of a lost actor. If the part of a batch exists, the batch is not
        annotated again. If an error such as an unavailable model ends the work, the papers
        processed before the error are written.

        Args:
            batch: a mapping, in which `papers` is the JSON of a list of papers.
        """
        papers = [Paper(**fields) for fields in json.loads(batch["papers"])]
        if isinstance(self._model, HarnessError):
            return _figures([], error=self._model)
        name = part_name(self._job.run, papers)
        try:
            if keys := part_keys(self._job.folder, self._identity, name):
                done, failed = (len(found) // KEY_BYTES for found in keys)
                return _figures(papers, done, Counter({"": failed}))
            return self._written(self._model, papers)
        except HarnessError as error:
            return _figures([], error=error)

    def _written(self, model: ServedModel, papers: Sequence[Paper]) -> dict[str, Any]:
        """Annotate papers, write annotations and failures as a part, and return the figures.

        Raises:
            OutputError: the part cannot be written, or another run has taken the folder over.
        """
        before, rows = dataclasses.replace(model.usage), list[Annotated | Failed]()

        def keep(task: Task, record: dict[str, Any]) -> None:
            rows.append(Annotated(task.paper, record))

        def refuse(task: Task, error: Exception) -> None:
            rows.append(Failed(failure_of(task.paper, error), task.key))

        annotator = self._job.annotator(model)
        tasks = (task_of(paper, partial(annotator.prepare, paper)) for paper in papers)
        stop = model.cancel = StopToken()
        stopped = annotate_tasks(annotator, tasks, keep, refuse, stop).stopped
        ended = [row.paper for row in rows]
        if rows:
            content = encode(rows, self._job.framework, self._schema)
            self._job.folder.write(part_name(self._job.run, ended), content, self._job.run)
        errors = Counter(row.failure.error_type for row in rows if isinstance(row, Failed))
        used = model.usage.since(before)
        return _figures(ended, len(rows) - errors.total(), errors, used, stopped)


def _figures(
    papers: Sequence[Paper],
    done: int = 0,
    errors: Counter[str] | None = None,
    usage: Usage | None = None,
    error: HarnessError | None = None,
) -> dict[str, Any]:
    errors, usage = errors or Counter(), usage or Usage()
    return {
        "done": done,
        "failed": errors.total(),
        "errors": json.dumps(errors),
        "chars": sum(len(paper.abstract) for paper in papers),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "node": platform.node(),
        "error": b"" if error is None else pickle.dumps(error),
    }


def annotate_and_save(call: Call, source: Source, framework: Framework) -> Finished:
    """Annotate papers like `annotate_source`, and also save the annotations as parts.

    Returns:
        The finished job, as from `annotate_source`.

    Raises:
        UsageError: the folder contains parts of another job, or the line has other targets or
            --cascade.
        OutputError: the folder cannot be written.
    """
    require("fsspec", extra="ray")
    if len(call.targets) != 1 or call.options.cascade is not None:
        raise UsageError(
            "a folder of parts must be the only target, and does not go with --cascade",
            where=str(call.targets[0]),
            hint="Use another line for other targets; with --cascade, save to a file.",
        )
    options, folder = call.options, PartsFolder(folder_url(call.targets[0]))
    wanted = options.max_tokens, options.wording
    job = PartsJob(framework, folder, source.id_column, new_run(), *wanted)

    def check(model: ServedModel) -> None:
        folder.create()
        check_first(folder, job.identity(model))

    finished = annotate_source(call, source, framework, check)
    identity = job.identity(finished.job.model)
    schema = part_schema(framework, source.id_column, identity)
    folder.take_over(job.run)
    before = scan(folder, identity)
    new = (item for item in finished.items() if paper_key(item.paper) not in before.done)
    while batch := list(itertools.islice(new, LARGEST)):
        name = part_name(job.run, [item.paper for item in batch])
        folder.write(name, encode(batch, framework, schema), job.run)
    return finished
