"""Papers from arXiv by their id, and what an id is.

HARNESS_ARXIV_URL names another address for queries than arXiv's own (a mirror, a test).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import NothingFound
from skills.annotate.arxiv.pages import Access
from skills.annotate.arxiv.session import DELAY, TIMEOUT, access, no_notice, results
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

if TYPE_CHECKING:
    import arxiv  # type: ignore[import-untyped]

_HINT = "Try again in a minute, or give the abstract itself, as text or as a file."


@dataclass(frozen=True, slots=True)
class Entry:
    """What arXiv says of a paper.

    Attributes:
        id: without version.
        versioned_id: the version that was read.
        authors, categories: joined with ", ".
        published: the day of the first version, "2024-05-17".
    """

    id: str
    versioned_id: str
    title: str
    abstract: str
    authors: str = ""
    published: str = ""
    categories: str = ""

    def as_paper(self) -> Paper:
        """The paper, with where it came from."""
        return Paper(
            "arxiv_id",
            self.id,
            self.title,
            self.abstract,
            {"kind": "arxiv", "arxiv_id": self.versioned_id},
            authors=self.authors,
            published=self.published,
            categories=self.categories,
        )


def fetch(
    arxiv_id: str,
    *,
    cache_dir: Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    delay: float = DELAY,
    wait: Callable[[float], None] = time.sleep,
    notice: Callable[[str], None] = no_notice,
) -> Entry:
    """Get the paper of an arXiv id, with or without version.

    Args:
        cache_dir: where its page is kept for a day, instead of the cache the environment names.
        timeout, delay, wait, notice: as in `arxiv_session.Access`.

    Raises:
        NothingFound: arXiv has no such paper.
        SkillFailed: arXiv cannot be reached, refuses, or answers with something else.
    """
    import arxiv

    reached = access(
        _HINT,
        cache_dir=cache_dir,
        environ=environ,
        timeout=timeout,
        delay=delay,
        wait=wait,
        notice=notice,
    )
    search = arxiv.Search(id_list=[arxiv_id], max_results=1)
    found, entries = results(search, 1, reached)
    if not found and not entries:
        raise NothingFound(f"arXiv has no paper {arxiv_id}", hint="Is the id right?")
    return _asked_for(found[0] if found else None, arxiv_id, reached)


def entry(found: arxiv.Result) -> Entry:
    """What the package read, in our form."""
    versioned = found.get_short_id()
    return Entry(
        without_version(versioned),
        versioned,
        flatten(found.title),
        found.summary.strip(),
        ", ".join(flatten(author.name) for author in found.authors),
        found.published.date().isoformat(),
        ", ".join(found.categories),
    )


def without_version(arxiv_id: str) -> str:
    """ "2405.12345v2" as "2405.12345"."""
    return re.sub(r"v\d+$", "", arxiv_id)


def _asked_for(found: arxiv.Result | None, arxiv_id: str, access: Access) -> Entry:
    if found is None:
        raise access.failed("its answer lacks what a paper must have")
    if "/api/errors" in found.entry_id:
        raise NothingFound(
            f"arXiv does not know {arxiv_id}: {flatten(found.summary)}", hint="Is the id right?"
        )
    read = entry(found)
    if _comparable(read.id) != _comparable(arxiv_id):
        answer = flatten(read.versioned_id)[:60]
        raise access.failed(f"asked for {arxiv_id}, it answered with {answer}")
    if not read.abstract:
        raise access.failed(f"its entry of {arxiv_id} has no abstract")
    return read


def _comparable(arxiv_id: str) -> str:
    """Without version and, in an old id, without the subject class, which arXiv leaves out."""
    return re.sub(r"\.[a-z]{2}(?=/)", "", without_version(arxiv_id).casefold())
