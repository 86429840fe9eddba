"""A topic: its subject words, and the papers on it in the corpus and at sources of papers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.errors import InputError, NothingFound, SkillFailed
from skills.corpus.lookups.fetch.merging import firsts, interleaved
from skills.nanda.paper import Paper
from skills.nanda.text import STOP_WORDS, WORD, counted, flatten

_OPENING = """
    advances approaches current guide introduction literature methods overview paper papers primer
    progress publications research review reviews studies study summary survey surveys techniques
    trends tutorial work works
"""
_ENDING = "literature overview paper papers review reviews summary survey surveys tutorial"
_FILLING = """
    approach approaches comprehensive latest method methods recent systematic technique techniques
"""
_OPENERS = frozenset(_OPENING.split())
"""Words that request papers before "of" or "on"; elsewhere they may be the subject: "survey
sampling", "direct current motors"."""
_ENDERS = frozenset(_ENDING.split())
"""Words that request papers at the end of a topic: "RAG: a literature review"."""
_LONE_ENDERS = frozenset({"overview", "papers", "survey", "surveys"})
"""Those that are not the subject even alone; in "automated code review", "review" is."""
_FILLERS = frozenset(_FILLING.split())
"""Words that are not the subject anywhere."""
_LINKS = frozenset({"about", "concerning", "for", "in", "into", "of", "on", "over", "to", "within"})


def find_papers(
    topic: str,
    *,
    limit: int,
    from_corpus: Callable[[Sequence[str], int], list[Paper]] | None,
    sources: Mapping[str, Callable[[Sequence[str], str], list[Paper]]],
    notice: Callable[[str], None],
    period: str = "",
) -> list[Paper]:
    """Return papers on a topic, each once, those of the corpus first.

    They contain all words of the topic; if none does, those of the corpus with half of the words
    (two at least) and those of the sources with any of them are taken.

    Args:
        limit: the maximum number of papers; the sources are searched if the corpus has fewer.
        from_corpus: called with the words and the number of words a paper must contain.
        sources: by their titles, called with the words and "AND" or "OR".
        notice: receives a line if no paper has all words, or a source fails.
        period: the dates of the search, for messages.

    Raises:
        InputError: the topic contains no word.
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
    if not found and len(words) > (1 if sources else 2):  # two words of the corpus: all of them
        notice(f"no paper has all of {', '.join(words)}; searching for papers with some of them")
        found = search(max(2, (len(words) + 1) // 2), "OR")
    if not found:
        places = ["the corpus"] * bool(from_corpus) + list(sources)
        raise _nothing_found(topic, places, period, list(failures.values()))
    _report(failures.values(), len(found), notice, all_failed=len(failures) == len(sources))
    return found


def _report(
    failures: Iterable[SkillFailed], papers: int, notice: Callable[[str], None], *, all_failed: bool
) -> None:
    where = "of the corpus" if all_failed else "of the other places"
    for failure in failures:
        notice(f"{failure.message}; continuing with {counted(papers, 'paper')} {where}")


def subject_words(topic: str) -> list[str]:
    """Return the subject of a topic as words, each once: "Survey of RAG techniques" as ["RAG"].

    Stop words and words that only request papers are left out, unless nothing else is left. Hyphens
    separate words.

    Raises:
        InputError: the topic contains no word.
    """
    every = [match.group() for match in WORD.finditer(flatten(topic))]
    if not every:
        raise InputError(f"the topic {shown(topic)!r} contains no word", hint="Name a subject.")
    folded = [word.casefold() for word in every]
    start, end = _after_opening(folded), _before_ending(folded)
    inside = every[start:end] if start < end else every
    return (
        _once(word for word in inside if not _is_filler(word.casefold()))
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
    """Return the index behind "a recent survey of", "papers on", "methods for"."""
    start = 0
    for index, word in enumerate(folded):
        if not (word in _OPENERS or _is_filler(word)):
            break
        if word in _LINKS:
            start = index + 1
    return start


def _before_ending(folded: list[str]) -> int:
    """Return the index before "survey", ": a review" or "literature review"."""
    end = len(folded)
    while end and (folded[end - 1] in _ENDERS or _is_filler(folded[end - 1])):
        end -= 1
    lone = len(folded) - end == 1 and folded[-1] not in _LONE_ENDERS
    return len(folded) if lone else end


def _is_filler(folded: str) -> bool:
    return folded in STOP_WORDS or folded in _FILLERS


def _once(words: Iterable[str]) -> list[str]:
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return list(first.values())


def _distinct(papers: Sequence[Paper]) -> list[Paper]:
    """Return the papers without repetitions, by identity, arXiv id and abstract."""
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
