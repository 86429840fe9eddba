"""/annotate TOPIC, ids.txt or DOI: annotate papers from the corpus and from sources.

The result for a topic is a survey. Papers with a low relevance are left out (see `relevance`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

from harness.api.skill import Call, Result
from harness.errors import InputError, NothingFound, SkillFailed
from harness.terminal.console import render_markdown
from skills.annotate import plan
from skills.annotate.options import LEAST_RELEVANCE
from skills.annotate.plan import Source, id_column, is_long_enough
from skills.annotate.survey_page import Survey, as_markdown, write_html
from skills.annotate.table import Finished, annotate_source
from skills.corpus import exporters
from skills.corpus.db import reads
from skills.corpus.db.connection import database, open_corpus
from skills.corpus.lookups.fetching import firsts, interleaved
from skills.corpus.lookups.id_list import Id, IdList
from skills.corpus.lookups.resolving import Resolved, papers_of, report, resolve
from skills.corpus.options import CORPUS
from skills.corpus.records import Annotated
from skills.corpus.search.fulltext import papers_about
from skills.corpus.sources.services import SERVICES, SourceQuery, open_arxiv, opened, switched_on
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.text import STOP_WORDS, WORD, content_words, counted, flatten, set_of

_ADDRESSES = re.compile(r"^\[\d+\]: .*$", re.MULTILINE)
"""Matches the link definitions of citations, which a terminal does not show."""
_BOOLEAN = ("openalex", "pubmed")
"""Sources whose queries may contain AND and OR."""
_OF_A_TABLE = ("input", "rows", "filtered")
"""Keys of the summary of a job that are left out of the summary of a survey."""
_OPENERS = set_of(
    """
    advances approaches current guide introduction literature methods overview paper papers primer
    progress publications research review reviews studies study summary survey surveys techniques
    trends tutorial work works
    """
)
"""Words that request papers if a word of `_LINKS` follows, as in "survey of RAG".

Otherwise, the words may belong to the subject: "survey sampling", "direct current motors".
"""
_ENDERS = set_of("literature overview paper papers review reviews summary survey surveys tutorial")
"""Words that request papers at the end of a topic, as in "RAG: a literature review"."""
_LONE_ENDERS = set_of("overview papers survey surveys")
"""Words of `_ENDERS` that request papers even as the only word of an ending.

Any other single word, such as "review", may belong to the subject: "automated code review".
"""
_FILLERS = STOP_WORDS | set_of(
    "approach approaches comprehensive latest method methods recent systematic technique techniques"
)
"""Words that never state the subject of a topic."""
_LINKS = set_of("about concerning for in into of on over to within")
SHORT = 50
"""Number of words below which an abstract is so short that it states its subject only once."""


def annotate_topic(call: Call, framework: Framework) -> Result:
    """Find papers on a topic, annotate the papers without an annotation, and survey all papers.

    If the line names a model, this model annotates all papers. Otherwise, the current annotations
    in the corpus are used, whichever model made them.
    """
    topic = flatten(call.text)
    found = _find(call, topic)
    papers = found.papers
    known = {} if call.models.choice.model else _known(call, papers, framework)
    _announce(call, topic, found, known)
    rest = [paper for paper in papers if paper.sha256 not in known]
    finished = None
    if rest:
        finished = annotate_source(call, plan.from_papers(topic, rest), framework)
    made = {item.paper.sha256: item for item in finished.items()} if finished else {}
    items = [item for p in papers if (item := known.get(p.sha256) or made.get(p.sha256))]
    failures = list(finished.failures()) if finished else []

    survey = Survey(topic, items, framework, failures, found.left_out, call.options.relevance)

    def write_markdown(file: IO[bytes]) -> None:
        file.write(as_markdown(survey).encode())

    summary = _summary(topic, len(papers), len(known), finished)
    tables = exporters.Export(
        framework,
        plan.id_column(papers),
        lambda: iter(items),
        lambda: iter(failures),
        title=topic,
        about=summary,
        raw=call.options.raw,
    ).writers()
    return Result(
        "" if call.targets else as_markdown(survey),
        writers={**tables, ".md": write_markdown, ".html": lambda file: write_html(file, survey)},
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
    """Return the summary for `--json`.

    "done", "failed" and "pending" cover all papers; papers annotated before count as done. The
    other keys are from `table.summary_of` (without `_OF_A_TABLE`), and describe only the job.

    Args:
        papers: number of papers on the topic.
        known: number of papers annotated before.
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


def _find(call: Call, topic: str) -> TopicPapers:
    options, path = call.options, database(call)
    limit, since, until = options.max, options.since, options.until
    if since and until and since > until:
        problem = f"--since {since} is later than --until {until}"
        raise InputError(problem, hint="Swap the two dates.")

    def from_corpus(words: Sequence[str], fewest: int) -> list[Paper]:
        if not path.exists():
            return []
        with open_corpus(path) as db:
            return papers_about(db, words, limit, since, until, fewest=fewest)

    def from_arxiv(words: Sequence[str], operator: str) -> list[Paper]:
        arxiv = open_arxiv(call)
        return arxiv.papers(words, limit, operator=operator, since=since, until=until)

    def from_source(name: str, words: Sequence[str], operator: str) -> list[Paper]:
        text = (f" {operator} " if name in _BOOLEAN else " ").join(words)
        found = opened(name, call).search(SourceQuery(text, limit, since, until))
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
    """Return the current annotations of the papers, by the SHA-256 of the abstract."""
    path = database(call)
    if not path.exists():
        return {}
    with open_corpus(path) as db:
        found = {paper.sha256: reads.current(db, paper, framework) for paper in papers}
    return {sha256: item for sha256, item in found.items() if item}


def _announce(call: Call, topic: str, found: TopicPapers, known: Mapping[str, Annotated]) -> None:
    count = f"{counted(len(found.papers), 'paper')} on {topic!r}"
    if found.left_out:
        count += (
            f"; {len(found.left_out):,} left out, with a relevance below {call.options.relevance:g}"
        )
    by = Counter(item.record["provenance"]["resolved"] for item in known.values())
    models = ", ".join(f"{n} by {model}" for model, n in by.most_common())
    before = f"; annotated before: {models} (--model NAME annotates them again)" if known else ""
    call.screen.notice(count + before)


def find_papers(
    topic: str,
    *,
    limit: int,
    from_corpus: Callable[[Sequence[str], int], list[Paper]] | None,
    sources: Mapping[str, Callable[[Sequence[str], str], list[Paper]]],
    notice: Callable[[str], None],
    period: str = "",
) -> list[Paper]:
    """Return distinct papers on a topic; papers of the corpus come first.

    The papers contain all words of `subject_words(topic)`. If no paper contains all words, the
    result has papers of the corpus with at least half of the words (and at least two words), and
    papers of the sources with any of the words.

    Args:
        limit: the maximum number of papers. Sources are searched if the corpus has fewer papers.
        from_corpus: the search of the corpus, called with the words and the minimum number of
            these words in a paper; None to search only the sources.
        sources: the searches of sources, by the title of the source. A search is called with the
            words and "AND" or "OR".
        notice: called with a message if no paper contains all words, or if a source fails.
        period: the dates of the search, for messages.

    Raises:
        InputError: the topic has no words.
        NothingFound: no paper is found.
        SkillFailed: all sources failed, and the corpus was not searched.
    """
    words, failures = subject_words(topic), dict[str, SkillFailed]()

    def search(fewest: int, operator: str) -> list[Paper]:
        found = _distinct(from_corpus(words, fewest)) if from_corpus else []
        lists = []
        for title, search_at in sources.items() if len(found) < limit else ():
            if title not in failures:
                try:
                    lists.append(search_at(words, operator))
                except SkillFailed as exc:
                    failures[title] = exc
                    if from_corpus is None and len(failures) == len(sources):
                        raise
        return _distinct([*found, *interleaved(lists)])[:limit]

    found = search(len(words), "AND")
    # The second search of the corpus also requires at least two words. If the topic has only two
    # words, the second search can thus find papers only at the sources.
    if not found and len(words) > (1 if sources else 2):
        notice(f"no paper has all of {', '.join(words)}; searching for papers with some of them")
        found = search(max(2, (len(words) + 1) // 2), "OR")
    if not found:
        places = ["the corpus"] * bool(from_corpus) + list(sources)
        raise _nothing_found(topic, places, period, list(failures.values()))
    where = "the corpus" if len(failures) == len(sources) else "the other sources"
    for failure in failures.values():
        notice(f"{failure.message}; continuing with {counted(len(found), 'paper')} from {where}")
    return found


def subject_words(topic: str) -> list[str]:
    """Return the distinct words that state the subject of a topic.

    The result for "Survey of RAG techniques" is ["RAG"]. Stop words and words that only request
    papers are left out, unless no other word is left. Hyphens separate words.

    Raises:
        InputError: the topic has no words.
    """
    every = [match.group() for match in WORD.finditer(flatten(topic))]
    if not every:
        raise InputError(f"the topic {shown(topic)!r} has no words", hint="Name a topic.")
    folded = [word.casefold() for word in every]
    start, end = _after_opening(folded), _before_ending(folded)
    inside = every[start:end] if start < end else every
    return (
        _once(word for word in inside if word.casefold() not in _FILLERS)
        or _once(word for word in every if word.casefold() not in STOP_WORDS)
        or _once(every)
    )


def shown(topic: str) -> str:
    """Return a topic for a message, on one line of at most 60 characters."""
    text = flatten(topic)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nothing_found(
    topic: str, places: list[str], period: str, failures: list[SkillFailed]
) -> NothingFound:
    subject = f"{shown(topic)!r}{period}"
    for failure in failures:
        return NothingFound(
            f"the corpus has no paper on {subject}; {failure.message}",
            where=failure.where,
            hint=failure.hint,
        )
    hint = "Try other words, or other dates." if period else "Try other words."
    if places == ["the corpus"]:
        hint = "Without `--source corpus`, arXiv is searched too."
    return NothingFound(f"there is no paper on {subject} in {' or at '.join(places)}", hint=hint)


def _after_opening(folded: list[str]) -> int:
    """Return the index of the first word after an opening such as "a survey of".

    The index is 0 if the topic has no opening.

    Args:
        folded: the words of the topic, with their case folded.
    """
    start = 0
    for index, word in enumerate(folded):
        if word not in _OPENERS | _FILLERS:
            break
        if word in _LINKS:
            start = index + 1
    return start


def _before_ending(folded: list[str]) -> int:
    """Return the index at which an ending such as ": a review" begins.

    Without an ending, the result is the number of words.

    Args:
        folded: the words of the topic, with their case folded.
    """
    end = len(folded)
    while end and folded[end - 1] in _ENDERS | _FILLERS:
        end -= 1
    lone = len(folded) - end == 1 and folded[-1] not in _LONE_ENDERS
    return len(folded) if lone else end


def _once(words: Iterable[str]) -> list[str]:
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return list(first.values())


def _distinct(papers: Sequence[Paper]) -> list[Paper]:
    """Return the papers, except papers with an identifier or the abstract of an earlier paper.

    `firsts` treats records with a common DOI as different papers if their titles differ. Since an
    arXiv paper may be renamed between versions, its arXiv id is also compared.
    """
    seen: set[str] = set()
    kept = []
    for place, (first, paper) in enumerate(zip(firsts(papers), papers, strict=True)):
        keys = {paper.sha256}
        if paper.id_field == "arxiv_id":
            keys.add(re.sub(r"v\d+$", "", paper.id.casefold()))
        if first == place and seen.isdisjoint(keys):
            kept.append(paper)
        seen |= keys
    return kept


@dataclass(frozen=True, slots=True)
class TopicPapers:
    """The papers on a topic, and the papers left out because their relevance is low."""

    papers: list[Paper]
    left_out: list[Paper]


def relevant(
    found: Sequence[Paper], words: Sequence[str], least: float = LEAST_RELEVANCE
) -> TopicPapers:
    """Return the found papers, separated into relevant papers and papers that are left out.

    The relevance of papers that are left out is below `least`.

    Raises:
        NothingFound: no paper is relevant.
    """
    papers = [paper for paper in found if relevance(paper, words) >= least]
    if not papers:
        raise NothingFound(
            f"{counted(len(found), 'paper')} found, but none has a relevance of {least:g} or more",
            hint="Try fewer or other words, or `--relevance 0` to accept all found papers.",
        )
    return TopicPapers(papers, [paper for paper in found if paper not in papers])


def relevance(paper: Paper, words: Sequence[str]) -> float:
    """Return the relevance of a paper to a topic, 0 to 1: the mean score of the topic's words.

    A word scores 1 if it occurs in the title or twice in the abstract, 0.5 if it occurs once in the
    abstract, and otherwise 0. If the abstract has fewer than `SHORT` words or the paper has no
    title, one occurrence scores 1. Inflected forms count as occurrences.

    Args:
        words: the words that state the subject of the topic.
    """
    stems = [stem for word in words for stem in content_words(word)]
    if not stems:
        return 1.0
    title, abstract = set(content_words(paper.title)), Counter(content_words(paper.abstract))
    enough = 1 if not paper.title or len(paper.abstract.split()) < SHORT else 2
    shares = (1.0 if stem in title else min(abstract[stem] / enough, 1.0) for stem in stems)
    return sum(shares) / len(stems)


def annotate_ids(call: Call, ids: IdList, framework: Framework) -> Result:
    """Annotate the papers of a list of ids, and return the result.

    Ids for which no abstract is found are reported, and listed in the summary.

    Raises:
        NothingFound: no paper of the list can be annotated.
    """
    made, papers = _look_up(call, ids.ids)
    report(call, ids.ids, made)
    ids.refused.report(call.screen)
    if made.stopped is not None:
        raise made.stopped
    usable = [paper for paper in papers if is_long_enough(paper)]
    if not usable:
        raise NothingFound(
            "no id of the list has a paper that can be annotated",
            where=ids.file,
            hint="Other sources may have the abstracts: see --source.",
        )
    filtered = {
        "no paper": len(made.missing),
        "repeats an earlier id": ids.repeated + len(made.rows) - len(papers),
        "too short": len(papers) - len(usable),
        "refused": len(ids.refused),
    }
    source = Source(
        ids.file,
        usable,
        id_column(usable),
        Counter({reason: count for reason, count in filtered.items() if count}),
        ids.refused,
    )
    result = annotate_source(call, source, framework).result()
    missing = {ids.ids[place].text: why for place, why in sorted(made.missing.items())}
    summary = {**(result.summary or {}), "missing": missing}
    return replace(result, summary=summary, exit_code=result.exit_code or int(bool(missing)))


def look_up(call: Call, one: Id) -> Paper:
    """Return the paper with an id.

    Raises:
        NothingFound: no enabled source has the paper with an abstract.
        UsageError: the paper is not in the corpus, and no source is enabled.
    """
    made, papers = _look_up(call, [one])
    if made.stopped is not None:
        raise made.stopped
    for error in made.errors:
        call.screen.notice(error)
    if not papers:
        raise NothingFound(
            f"there is no paper {one.text[:60]} to annotate: {made.missing[0]}",
            hint="Is the id right? Other sources may have the paper: see --source.",
        )
    return papers[0]


def _look_up(call: Call, ids: list[Id]) -> tuple[Resolved, list[Paper]]:
    sources = switched_on(call.options.source)
    with open_corpus(database(call)) as db, call.cancel.on_signals():
        made = resolve(call, db, ids, sources)
        return made, papers_of(db, made)
