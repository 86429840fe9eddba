"""The steps of /evaluate: read the papers, annotate them, measure the annotations, and report."""

from __future__ import annotations

import json

from harness.api.skill import Call, Result
from harness.errors import InputError
from harness.runs.invocation import as_path
from harness.runs.targets import refuse_sources
from harness.support import traces
from harness.support.process import job_lock, require
from skills.corpus.db.connection import database, locks, open_corpus
from skills.corpus.tables.columns import Columns
from skills.evaluate import comparison, inputs, report_files, source_metrics, stored_evaluation
from skills.evaluate import report_text as report
from skills.evaluate.annotators import MODEL_ERRORS, Subject
from skills.evaluate.measures import Measures
from skills.evaluate.outputs import OVERALL
from skills.evaluate.report_text import regressions, verdict
from skills.evaluate.running import compared, models_of
from skills.nanda.framework import Framework
from skills.reporting.outputs import RefusedRow


def evaluate(call: Call, framework: Framework) -> Result:
    """Compare the models on the papers of a line."""
    subject = _subject(call, framework)
    path, source = database(call), subject.source.path
    assert source is not None
    subject.source.refused.report(call.screen)
    if any(target.suffix.lower() == ".png" for target in call.targets):
        require(*report_files.MODULES, extra="plots")
    refuse_sources(call.targets, input=source, corpus=path)
    names = models_of(call)
    options, earlier = call.options, None
    if options.against is not None:
        refuse_sources(call.targets, evaluation=options.against)
        earlier = stored_evaluation.read(options.against, subject, names[0])
    with open_corpus(path) as db:
        with (
            job_lock(locks(path), str(source.resolve())),
            compared(call, subject, db, path, len(names)) as runner,
        ):
            models = [runner.run(name) for name in names]
        with call.screen.progress("measuring"):
            measures = Measures(db)
            found = comparison.of_models(subject, models, earlier, measures)
            measures.save()
    for one in found.annotators:
        for metric, figures in one.metrics.items():
            if OVERALL in figures:
                score = figures[OVERALL].value
                traces.evaluated(metric, score, gen_ai__request__model=one.name)
    found.regressions = regressions(found) if earlier else None
    found.verdict = verdict(found)
    found.refused = [RefusedRow(**one) for one in subject.source.refused.as_json()]
    text = report.text(found, details=options.details)
    if call.targets:
        call.screen.notice(text)
    data = found.model_dump(mode="json", exclude_unset=True)
    failed = {kind for one in found.annotators for kind in one.failed if one.kind == "model"}
    regressed = options.fail_on_regression and found.regressions
    is_broken = failed - MODEL_ERRORS.keys() or subject.source.refused or regressed
    return Result(
        text,
        data=data,
        renderers={".json": lambda: json.dumps(data, ensure_ascii=False, indent=2) + "\n"},
        writers={
            ".html": lambda file: report_files.write_html(file, found, subject),
            ".png": lambda file: report_files.draw(found, file),
        },
        summary=data,
        exit_code=1 if is_broken else 0,
    )


def _subject(call: Call, framework: Framework) -> Subject:
    options = call.options
    if options.csabstruct is None:
        columns = Columns(options.abstract_column, options.id_column, options.title_column)
        path, notice = as_path(call.text.strip()), call.screen.notice
        return inputs.with_gold(path, columns, framework, options.limit, notice)
    lacks = [move for move in source_metrics.EXPECTED if move not in framework.names]
    if lacks:
        raise InputError(
            f"the framework {framework.name} has no move {', '.join(lacks)}",
            where=str(options.framework),
            hint="--csabstruct compares these moves with the labels of the sentences.",
        )
    return inputs.with_labels(options.csabstruct, framework, options.limit)
