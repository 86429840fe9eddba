"""A topic: the words it is about, and the papers on it, in the corpus and at arXiv."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import partial
from typing import Literal

from harness.errors import InputError, NothingFound, SkillFailed
from skills.corpus.search.fulltext import one_holds_all
from skills.nanda.paper import Paper
from skills.nanda.text import STOP_WORDS, WORD, flatten

Source = Literal["corpus", "arxiv"]

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
"""What is asked for where it stands before "of" or "on"; elsewhere it may be the subject: "survey
sampling", "direct current motors"."""
_ENDERS = frozenset(_ENDING.split())
"""What is asked for at the end of a topic: "RAG: a literature review"."""
_LONE_ENDERS = frozenset({"overview", "papers", "survey", "surveys"})
"""Those that are no subject even alone; "automated code review" is one."""
_FILLERS = frozenset(_FILLING.split())
"""What says nothing of a subject wherever it stands."""
_LINKS = frozenset({"about", "concerning", "for", "in", "into", "of", "on", "over", "to", "within"})


def subject_words(topic: str) -> list[str]:
    """The words a topic is about, as written, each once: "Survey of RAG techniques" as ["RAG"].

    Left out are stop words and those that only say that papers are wanted, unless nothing else is
    left. Hyphens part words.

    Raises:
        InputError: there is no word in it.
    """
    every = [match.group() for match in WORD.finditer(flatten(topic))]
    if not every:
        raise InputError(f"the topic {shown(topic)!r} holds no word", hint="Name a subject.")
    folded = [word.casefold() for word in every]
    start, end = _after_opening(folded), _before_ending(folded)
    inside = every[start:end] if start < end else every
    return (
        _once(word for word in inside if not _says_nothing(word.casefold()))
        or _once(word for word in every if word.casefold() not in STOP_WORDS)
        or _once(every)
    )


def find_papers(
    topic: str,
    *,
    source: Source | None,
    limit: int,
    since: date | None,
    until: date | None,
    from_corpus: Callable[[list[str], int, date | None, date | None, int], list[Paper]],
    from_arxiv: Callable[..., list[Paper]],
    notice: Callable[[str], None],
) -> list[Paper]:
    """Papers on a topic, the corpus's first, each once.

    They hold all words of the topic. Only where neither place has such a paper, those of the corpus
    with half of the words, two at least, and those of arXiv with any will do, and it says so.

    Args:
        source: look there alone; without it arXiv fills up what the corpus lacks.
        limit: papers at most.
        since, until: the first and the last day of publication.
        from_corpus: called with `subject_words`, limit, since, until, and how many words to hold.
        from_arxiv: called as `from_arxiv(topic, limit=, since=, until=)`. Where it has no
            paper with all words, it says so and hands back those with any.
        notice: told of what has to do where there is nothing better, or arXiv fails.

    Raises:
        InputError: the topic has no word, or the dates leave no day.
        NothingFound: there is no such paper.
        SkillFailed: arXiv was to be asked alone, and failed.
    """
    words = subject_words(topic)
    _check_days(since, until)

    def in_corpus(fewest: int) -> list[Paper]:
        return _distinct(from_corpus(words, limit, since, until, fewest))

    # As many as are wanted, not as are missing: some may be those that the corpus has.
    at_arxiv = partial(from_arxiv, topic, limit=limit, since=since, until=until)
    if source == "arxiv":
        return _distinct(at_arxiv())[:limit]
    found = in_corpus(len(words))
    enough = source == "corpus" or len(found) >= limit
    more, failure = ([], None) if enough else _if_reached(at_arxiv)
    if len(words) > 1 and not one_holds_all(more, words):
        found, more = _widened(words, found, more, in_corpus, notice)
    if not (found or more):
        raise _nothing(f"{shown(topic)!r}{between(since, until)}", failure)
    if failure:
        notice(f"{failure.message}; going on with the {_papers(found)} of the corpus")
    return _distinct([*found, *more])[:limit]


def _check_days(since: date | None, until: date | None) -> None:
    if since and until and since > until:
        raise InputError(f"no day is after {since} and before {until}", hint="Swap the two dates.")


def _if_reached(ask: Callable[[], list[Paper]]) -> tuple[list[Paper], SkillFailed | None]:
    try:
        return ask(), None
    except SkillFailed as exc:
        return [], exc


def _widened(
    words: list[str],
    found: list[Paper],
    more: list[Paper],
    in_corpus: Callable[[int], list[Paper]],
    notice: Callable[[str], None],
) -> tuple[list[Paper], list[Paper]]:
    """The corpus's papers and arXiv's, where none of arXiv's holds all words."""
    if not found:
        return _with_half(words, in_corpus, notice), more
    if more:  # given for want of better ones, which the corpus has
        notice(f"going on with the {_papers(found)} of the corpus, with all of the words")
    return found, []


def _with_half(
    words: list[str], in_corpus: Callable[[int], list[Paper]], notice: Callable[[str], None]
) -> list[Paper]:
    """The corpus's papers that hold half of the words, and two at least; one alone says little."""
    fewest = max(2, (len(words) + 1) // 2)
    found = in_corpus(fewest) if fewest < len(words) else []
    if found:
        notice(
            f"the corpus has no paper with all of {', '.join(words)}; "
            f"taking {_papers(found)} with {fewest} of them or more"
        )
    return found


def _nothing(asked: str, failure: SkillFailed | None) -> NothingFound:
    """The error where neither place has a paper, which says what arXiv said."""
    nothing = f"the corpus has no paper on {asked}"
    if failure is None:
        return NothingFound(nothing, hint="Without `--source corpus`, arXiv is asked too.")
    error = NothingFound(
        f"{nothing}, and {failure.message}", where=failure.where, hint=failure.hint
    )
    error.__cause__ = failure
    return error


def _papers(found: list[Paper]) -> str:
    return f"{len(found)} {'paper' if len(found) == 1 else 'papers'}"


def _after_opening(folded: list[str]) -> int:
    """Where the subject starts: behind "a recent survey of", "papers on", "methods for"."""
    start = 0
    for index, word in enumerate(folded):
        if not (word in _OPENERS or _says_nothing(word)):
            break
        if word in _LINKS:
            start = index + 1
    return start


def _before_ending(folded: list[str]) -> int:
    """Where the subject ends: before "survey", ": a review" or "literature review"."""
    end = len(folded)
    while end and (folded[end - 1] in _ENDERS or _says_nothing(folded[end - 1])):
        end -= 1
    lone = len(folded) - end == 1 and folded[-1] not in _LONE_ENDERS
    return len(folded) if lone else end


def _says_nothing(folded: str) -> bool:
    return folded in STOP_WORDS or folded in _FILLERS


def _once(words: Iterable[str]) -> list[str]:
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return list(first.values())


def _distinct(papers: Iterable[Paper]) -> list[Paper]:
    """The papers without those that come again, by arXiv id or by abstract."""
    seen: set[str] = set()
    kept = []
    for paper in papers:
        keys = set(_keys(paper))
        if seen.isdisjoint(keys):
            kept.append(paper)
        seen |= keys
    return kept


def _keys(paper: Paper) -> Iterator[str]:
    yield f"abstract {paper.sha256}"
    if paper.id_field == "arxiv_id":
        bare = re.sub(r"v\d+$", "", paper.id.casefold())
        yield f"arxiv {bare}"


def between(since: date | None, until: date | None) -> str:
    """The dates asked for, as the end of a clause."""
    if since and until:
        return f" published from {since} to {until}"
    if since:
        return f" published since {since}"
    return f" published until {until}" if until else ""


def shown(topic: str) -> str:
    text = flatten(topic)
    return text if len(text) <= 60 else f"{text[:57]}..."
