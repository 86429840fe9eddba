"""/annotate TABLE, and the job that it shares with /annotate TOPIC."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.api.skill import Call, Result
from harness.errors import ModelError, ModelUnavailable
from harness.models.served import ServedModel
from harness.runs.targets import refuse_sources
from harness.support.process_lock import job_lock
from harness.support.reading.text_input import at_home
from skills.annotate.table import sources
from skills.annotate.table.job import AnnotateJob
from skills.annotate.table.result import Finished, finish
from skills.annotate.table.sources import Source
from skills.corpus.db import damage, reads, runs
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.tables.parquet.files import refuse_targets
from skills.corpus.tables.references.reader import report_encoding
from skills.corpus.tables.refusals import SHOWN
from skills.nanda.framework import Framework
from skills.nanda.framework_option import task_of


def annotate_table(
    call: Call,
    path: Path,
    framework: Framework,
    annotate: Callable[[Call, Source, Framework], Finished],
) -> Result:
    """Annotate the papers of a table.

    Args:
        annotate: `annotate_source`, or a function that also passes papers on to other models.
    """
    path = at_home(path)
    options = call.options
    refuse_sources(call.targets, input=path, sample=options.sample)
    refuse_targets(call.targets, path)
    columns = replace(options.table_columns(), sections=options.sections)
    with call.screen.progress(f"reading {path.name}", reported=False) as tick:
        source = sources.from_table(
            path, columns, options.limit, tick, call.screen.notice, strict=options.strict
        )
    report_encoding(path, call.screen)
    source.refused.report(call.screen)
    for problem, places in source.doubts.items():
        listed = ", ".join(places[:SHOWN]) + ", ..." * (len(places) > SHOWN)
        call.screen.notice(f"{path.name}: text that {problem}: {listed} (--strict refuses it)")
    return result_of(call, annotate(call, source, framework))


def result_of(call: Call, finished: Finished) -> Result:
    """Return the result of a job; without a target, a pipe gets its annotations, one on a line."""
    if not call.targets and not call.screen.is_terminal:
        for item in finished.items():
            call.screen.emit(json.dumps(item.record, ensure_ascii=False) + "\n")
    return finished.result()


def annotate_source(
    call: Call,
    source: Source,
    framework: Framework,
    check: Callable[[ServedModel], None] = lambda _: None,
) -> Finished:
    """Annotate the papers of `source`, in one process at a time.

    Args:
        check: called with the loaded model before it is used.

    Raises:
        UsageError: another process annotates them.
        ModelError: see `_refuse_to_start_over`.
    """
    path = database(call)
    refuse_sources(call.targets, corpus=path)
    name = str(source.path.resolve() if source.path else source.name)

    with open_corpus(path) as db, job_lock(locks(path), name):
        damage.refuse(db, path)

        def work(model: ServedModel) -> Finished:
            check(model)
            job = AnnotateJob(call, source, framework, model, db)
            with call.cancel.on_signals(), runs.recorded(db, lambda: job.run_id):
                _refuse_to_start_over(job)
                started = time.monotonic()
                tally = job.run()
                if isinstance(tally.stopped, ModelUnavailable) and not job.has_done:
                    raise tally.stopped  # so that the fallback can serve
                return finish(job, tally, path, time.monotonic() - started)

        task = task_of(framework, call.models.registry)
        return call.models.run(task, work, slots=call.options.workers)


def _refuse_to_start_over(job: AnnotateJob) -> None:
    """Refuse that a fallback annotates all papers again.

    Raises:
        ModelError: the requested model has annotated some of them.
    """
    resolution = job.model.resolution
    if not resolution.fell_back:
        return
    done = sum(
        item is not None and item.record["provenance"]["resolved"] == resolution.requested
        for item in (reads.current(job.db, p, job.framework) for p in job.source.papers)
    )
    if done:
        raise ModelError(
            f"{resolution.requested} has annotated {done:,} of these papers and cannot be served "
            f"now ({resolution.reason})",
            hint="Make it available and repeat the same line; "
            f"`--model {resolution.resolved}` annotates all of them with that model.",
        )
