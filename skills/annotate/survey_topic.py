"""/annotate with a topic: the papers on it, annotated, and a survey of them."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import IO

from harness.skills import Call, Result
from skills.annotate import arxiv_search, sources
from skills.annotate.many import annotate_source, database
from skills.annotate.survey import as_markdown
from skills.annotate.topic import find_papers
from skills.corpus.database import open_corpus
from skills.corpus.search import papers_about
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.wording import flatten


def annotate_topic(call: Call, framework: Framework) -> Result:
    """Find papers on a topic, annotate them, and survey them."""
    options, topic = call.options, flatten(call.text)
    path = database(call)

    def from_corpus(
        words: list[str], limit: int, since: date | None, until: date | None
    ) -> list[Paper]:
        if not path.exists():
            return []
        with open_corpus(path) as db:
            return papers_about(db, words, limit, since, until)

    papers = find_papers(
        topic,
        source=options.source,
        limit=options.max,
        since=options.since,
        until=options.until,
        from_corpus=from_corpus,
        from_arxiv=partial(arxiv_search.search, cache_dir=call.settings.cache_dir),
        notice=call.screen.notice,
    )
    call.screen.notice(f"{len(papers)} {'paper' if len(papers) == 1 else 'papers'} on {topic!r}")
    finished = annotate_source(call, sources.from_papers(topic, papers), framework)

    def survey() -> str:
        return as_markdown(topic, list(finished.items()), list(finished.failures()), framework)

    def write_survey(file: IO[bytes]) -> None:
        file.write(survey().encode())

    return finished.result("" if call.targets else survey(), md=write_survey)
