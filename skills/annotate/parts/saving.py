"""/annotate TABLE save to FOLDER/ --on CLUSTER: a folder of parts with what the corpus holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from harness.api.skill import Call
from harness.errors import UsageError
from harness.models.served import ServedModel
from harness.support.optional_deps import require
from skills.annotate.parts.folder import PartsFolder, folder_url, new_run
from skills.annotate.parts.job import PartsJob
from skills.annotate.parts.rows import encode, paper_key, part_name, part_schema
from skills.annotate.parts.scan import check_first, scan
from skills.annotate.table.command import annotate_source
from skills.annotate.table.result import Finished
from skills.annotate.table.sources import Source
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework

LARGEST = 1000
"""Papers of a part; it may be large, since the corpus has them already."""


def annotate_and_save(call: Call, source: Source, framework: Framework) -> Finished:
    """Annotate papers as `annotate_source`, and save them to a folder of parts as well.

    Raises:
        UsageError: the folder has parts of another job; nothing is annotated then.
    """
    require("fsspec", extra="ray")
    if len(call.targets) != 1 or call.options.cascade is not None:
        raise UsageError(
            "a folder of parts is the only target, and of one model",
            where=str(call.targets[0]),
            hint="Save other results to a file, in a line of its own.",
        )
    options, folder = call.options, PartsFolder(folder_url(call.targets[0]))
    wanted = options.max_tokens, options.wording
    job = PartsJob(framework, folder, source.id_column, new_run(), *wanted)

    def check(model: ServedModel) -> None:
        folder.create()
        check_first(folder, job.identity(model))

    finished = annotate_source(call, source, framework, check)
    _write(job, job.identity(finished.job.model), finished.items())
    return finished


def _write(job: PartsJob, identity: Mapping[str, Any], items: Iterator[Annotated]) -> None:
    """Write the annotations that are not in the folder yet."""
    schema = part_schema(job.framework, job.id_column, identity)
    job.folder.take_over(job.run)
    before = scan(job.folder, identity)
    new = (item for item in items if paper_key(item.paper) not in before.done)
    while batch := list(itertools.islice(new, LARGEST)):
        name = part_name(job.run, [item.paper for item in batch])
        job.folder.write(name, encode(batch, job.framework, schema), job.run)
