"""Papers on a topic at arXiv, the most relevant first."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path

from harness.errors import NothingFound
from skills.annotate.arxiv.pages import Access
from skills.annotate.arxiv.session import DELAY, TIMEOUT, access, no_notice, results
from skills.annotate.arxiv.source import Entry, entry
from skills.annotate.topic import between, shown, subject_words
from skills.nanda.paper import Paper

PAGE = 50
"""Papers asked for at once."""

_PLAIN = re.compile(r"[A-Za-z0-9]+")
_OPERATORS = frozenset({"and", "or", "not", "andnot", "to"})
_EARLIEST, _LATEST = date(1991, 1, 1), date(2999, 12, 31)
_HINT = (
    "Try again in a minute, or survey the papers of your corpus: `--source corpus`; "
    "`/annotate FILE` annotates papers you have."
)


def search(
    topic: str,
    *,
    limit: int,
    since: date | None = None,
    until: date | None = None,
    cache_dir: Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    delay: float = DELAY,
    wait: Callable[[float], None] = time.sleep,
    notice: Callable[[str], None] = no_notice,
) -> list[Paper]:
    """The papers that hold all words of a topic, or, where none does, any of them.

    Args:
        limit: papers at most.
        since, until: the first and the last day of submission.
        cache_dir: where pages are kept for a day, instead of the cache the environment names.
        timeout, delay, wait: as in `arxiv_session.Access`.
        notice: told when the search is widened, and why it takes long.

    Raises:
        InputError: the topic has no word.
        NothingFound: arXiv has no such paper.
        SkillFailed: arXiv cannot be reached, refuses, or answers with something else.
    """
    words = subject_words(topic)
    reached = access(
        _HINT,
        cache_dir=cache_dir,
        environ=environ,
        timeout=timeout,
        delay=delay,
        wait=wait,
        notice=notice,
    )
    found = _found(query(words, since=since, until=until), limit, reached)
    if not found and len(words) > 1:
        notice(f"arXiv has no paper with all of {', '.join(words)}; looking for any of them")
        found = _found(query(words, joined="OR", since=since, until=until), limit, reached)
    if not found:
        raise NothingFound(
            f"arXiv has no paper on {shown(topic)!r}{between(since, until)}",
            hint="Try other words, or other dates." if since or until else "Try other words.",
        )
    return [found_entry.as_paper() for found_entry in found]


def query(
    words: Iterable[str],
    *,
    joined: str = "AND",
    since: date | None = None,
    until: date | None = None,
) -> str:
    """arXiv's query for papers with all of `words` (or any of them, joined by "OR").

    A word that could be read as more than a word stands in quotes. The form is that of the arXiv
    API User's Manual, section 5.1; dates are in GMT.
    """
    asked = f" {joined} ".join(f"all:{_quoted(word)}" for word in words)
    if not since and not until:
        return asked
    first, last = since or _EARLIEST, until or _LATEST
    return f"({asked}) AND submittedDate:[{first:%Y%m%d}0000 TO {last:%Y%m%d}2359]"


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word) and word.casefold() not in _OPERATORS:
        return word
    return '"' + re.sub(r'["\\]', " ", word) + '"'


def _found(asked: str, limit: int, access: Access) -> list[Entry]:
    """The usable entries of a query; those without an abstract are left out."""
    import arxiv  # type: ignore[import-untyped]

    wanted = arxiv.Search(query=asked, max_results=limit, sort_by=arxiv.SortCriterion.Relevance)
    found, entries = results(wanted, min(limit, PAGE), access)
    if entries and not found:
        raise access.failed("its answer lacks what a paper must have")
    if any("/api/errors" in result.entry_id for result in found):
        raise access.failed(f"it does not understand the query ({found[0].summary.strip()})")
    return [read for read in map(entry, found) if read.abstract]
