"""/annotate TOPIC: find papers on a topic, annotate them, and write a survey."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import IO, Any

from harness.api.skill import Call, Result
from harness.errors import InputError
from harness.terminal.console import render_markdown
from skills.annotate.survey.page import Survey, as_markdown
from skills.annotate.survey.relevance import Found, relevant
from skills.annotate.survey.topic import find_papers, subject_words
from skills.annotate.table import sources
from skills.annotate.table.command import annotate_source
from skills.annotate.table.result import Finished
from skills.corpus import exporters
from skills.corpus.db import reads
from skills.corpus.db.connection import database, open_corpus
from skills.corpus.lookups.configuration import CORPUS, SERVICES, opened, switched_on
from skills.corpus.lookups.sources import arxiv as lookup
from skills.corpus.lookups.sources.source import Query
from skills.corpus.records import Annotated
from skills.corpus.search.papers import papers_about
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.text import counted, flatten

_ADDRESSES = re.compile(r"^\[\d+\]: .*$", re.MULTILINE)
"""The targets of citations, which a terminal would show with each of them."""
_BOOLEAN = ("openalex", "pubmed")
"""Sources that read AND and OR in a query."""
_OF_A_TABLE = ("input", "rows", "filtered")
"""Entries of a job's summary that describe its table."""


def annotate_topic(call: Call, framework: Framework) -> Result:
    """Find papers on a topic, annotate those without an annotation, and survey them all.

    The current annotation of a paper in the corpus is used, whichever model made it, unless the
    line names a model.
    """
    topic = flatten(call.text)
    found = _find(call, topic)
    papers = found.papers
    known = {} if call.models.choice.model else _known(call, papers, framework)
    _announce(call, topic, found, known)
    rest = [paper for paper in papers if paper.sha256 not in known]
    finished = None
    if rest:
        finished = annotate_source(call, sources.from_papers(topic, rest), framework)
    made = {item.paper.sha256: item for item in finished.items()} if finished else {}
    items = [item for p in papers if (item := known.get(p.sha256) or made.get(p.sha256))]
    failures = list(finished.failures()) if finished else []

    survey = Survey(topic, items, framework, failures, found.left_out, call.options.relevance)

    def write_markdown(file: IO[bytes]) -> None:
        file.write(as_markdown(survey).encode())

    def write_page(file: IO[bytes]) -> None:
        from skills.annotate.survey.html import write_html

        write_html(file, survey)

    summary = _summary(topic, len(papers), len(known), finished)
    tables = exporters.writers(
        framework,
        sources.id_column(papers),
        lambda: iter(items),
        lambda: iter(failures),
        title=topic,
        about=summary,
    )
    return Result(
        "" if call.targets else as_markdown(survey),
        writers={**tables, ".md": write_markdown, ".html": write_page},
        folders=exporters.folders(call, framework, papers[0].id_field, lambda: iter(items)),
        records=lambda: (item.record for item in items),
        summary=summary,
        exit_code=1 if failures else 0,
        stopped=finished.stopped if finished else None,
        terminal=None
        if call.targets
        else lambda: render_markdown(_ADDRESSES.sub("", as_markdown(survey))),
    )


def _summary(topic: str, papers: int, known: int, finished: Finished | None) -> dict[str, Any]:
    """Return what `--json` prints.

    done, failed and pending count all papers; those annotated before are done. The other entries
    describe the job alone: model, tokens, seconds, errors (see skills/annotate/table/result.py).
    """
    job = dict(finished.summary) if finished else {"done": 0, "failed": 0, "pending": 0}
    counts = {
        "papers": papers,
        "annotated_before": known,
        "done": known + job.pop("done"),
        "failed": job.pop("failed"),
        "pending": job.pop("pending"),
    }
    return {"topic": topic, **counts, **{k: v for k, v in job.items() if k not in _OF_A_TABLE}}


def _find(call: Call, topic: str) -> Found:
    options, path = call.options, database(call)
    limit, since, until = options.max, options.since, options.until
    if since and until and since > until:
        raise InputError(f"no day is after {since} and before {until}", hint="Swap the two dates.")

    def from_corpus(words: Sequence[str], fewest: int) -> list[Paper]:
        if not path.exists():
            return []
        with open_corpus(path) as db:
            return papers_about(db, words, limit, since, until, fewest=fewest)

    def from_arxiv(words: Sequence[str], operator: str) -> list[Paper]:
        return lookup.search(
            words, lookup.api_of(call), limit=limit, operator=operator, since=since, until=until
        )

    def from_source(name: str, words: Sequence[str], operator: str) -> list[Paper]:
        text = (f" {operator} " if name in _BOOLEAN else " ").join(words)
        found = opened(name, call).search(Query(text, limit, since, until))
        return [one.paper for one in found]

    named = options.source.split(",") if options.source else switched_on(None) or ["arxiv"]
    found = find_papers(
        topic,
        limit=limit,
        from_corpus=from_corpus if options.source is None or CORPUS in named else None,
        sources={
            SERVICES[name].title: from_arxiv if name == "arxiv" else partial(from_source, name)
            for name in named
            if name != CORPUS
        },
        notice=call.screen.notice,
        period=" published" * bool(since or until)
        + f" since {since}" * bool(since)
        + f" until {until}" * bool(until),
    )
    return relevant(found, subject_words(topic), options.relevance)


def _known(call: Call, papers: list[Paper], framework: Framework) -> dict[str, Annotated]:
    """Return the current annotations of the papers by the digest of the abstract."""
    path = database(call)
    if not path.exists():
        return {}
    with open_corpus(path) as db:
        found = {paper.sha256: reads.current(db, paper, framework) for paper in papers}
    return {sha256: item for sha256, item in found.items() if item}


def _announce(call: Call, topic: str, found: Found, known: Mapping[str, Annotated]) -> None:
    count = f"{counted(len(found.papers), 'paper')} on {topic!r}"
    if found.left_out:
        count += (
            f"; {len(found.left_out):,} left out, of a relevance below {call.options.relevance:g}"
        )
    by = Counter(item.record["provenance"]["resolved"] for item in known.values())
    models = ", ".join(f"{n} by {model}" for model, n in by.most_common())
    before = f"; annotated before: {models} (--model NAME repeats them)" if known else ""
    call.screen.notice(count + before)
