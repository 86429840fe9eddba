"""/annotate with many papers: those of a table, or any others."""

from __future__ import annotations

import json
import time
from pathlib import Path

from harness.errors import ModelUnavailable, UsageError
from harness.joblock import job_lock
from harness.models import ServedModel
from harness.skills import Call, Result
from skills.annotate import sources
from skills.annotate.job import AnnotateJob
from skills.annotate.job_result import Finished, finish
from skills.annotate.sources import Source
from skills.corpus.columns import Columns
from skills.corpus.database import default_path, open_corpus
from skills.nanda.framework import Framework


def annotate_table(call: Call, path: Path, framework: Framework) -> Result:
    """Annotate the papers of a table."""
    options = call.options
    for target in call.targets:
        if target.exists() and target.samefile(path):
            raise UsageError("is the input itself", where=str(target), hint="Save to another file.")
    columns = Columns(options.abstract_column, options.id_column, options.title_column)
    finished = annotate_source(call, sources.from_table(path, columns, options.limit), framework)
    if not call.targets:
        for item in finished.items():
            call.screen.emit(json.dumps(item.record, ensure_ascii=False) + "\n")
    return finished.result()


def annotate_source(call: Call, source: Source, framework: Framework) -> Finished:
    """Annotate the papers of `source`, unless another process is at it."""
    path = database(call)
    job = f"{source.path.resolve() if source.path else source.name} in {path.resolve()}"

    with job_lock(call.settings.data_dir / "jobs", job), open_corpus(path) as db:

        def work(model: ServedModel) -> Finished:
            job = AnnotateJob(call, source, framework, model, db)
            started = time.monotonic()
            tally = job.run()
            if isinstance(tally.stopped, ModelUnavailable) and not job.has_done(tally):
                raise tally.stopped  # nothing is done yet, so that another model may take over
            return finish(job, tally, path, time.monotonic() - started)

        return call.models.run("annotate", work, slots=call.options.workers)


def database(call: Call) -> Path:
    """The corpus database of a call."""
    own: Path | None = call.options.db
    return own or default_path(call.settings)
