"""/annotate ABSTRACT: one paper."""

from __future__ import annotations

import itertools
from typing import Any

from harness.api.skill import Call, Result
from harness.models.served import ServedModel
from skills.annotate import render
from skills.annotate.arxiv import lookup
from skills.annotate.generate import annotate, prepare
from skills.annotate.papers import read_paper
from skills.corpus import exporters
from skills.corpus.records import Annotated
from skills.nanda.framework import Framework


def annotate_text(call: Call, framework: Framework) -> Result:
    """Annotate the abstract that the line contains or names."""
    options = call.options
    paper = read_paper(
        call.text,
        source=call.source,
        title=options.title,
        max_words=framework.max_words,
        fetch=lambda arxiv_id: lookup.fetch(arxiv_id, lookup.api_of(call)),
    )

    def work(model: ServedModel) -> dict[str, Any]:
        # Progress starts here, after the notices of a download or a fallback.
        with call.screen.progress("annotating") as tick:
            pieces = itertools.count(1)
            prepared = prepare(paper, framework, model, options.max_tokens)
            return annotate(prepared, model, lambda _: tick(f"{next(pieces)} tokens"))

    record = call.models.run("annotate", work)
    if warning := render.warning(record):
        call.screen.notice(warning)
    as_table = exporters.writers(
        framework,
        paper.id_field,
        lambda: iter([Annotated(paper, record)]),
        lambda: iter([]),
        title=paper.title or "Annotation",
    )
    return Result(
        text=render.moves_as_json(record, framework),
        data=record,
        renderers={
            ".md": lambda: render.as_markdown(record, framework),
            ".json": lambda: render.as_json(record),
        },
        writers={suffix: as_table[suffix] for suffix in (".jsonl", ".csv", ".parquet", ".html")},
    )
