"""Settings of the sources of papers: names, addresses, keys and rates.

HARNESS_SOURCES           sources that are used without --source, such as openalex,crossref
HARNESS_EMAIL             your address, for PubMed, and for Crossref, which then is faster
OPENALEX_API_KEY, SEMANTIC_SCHOLAR_API_KEY, NCBI_API_KEY
HARNESS_OPENALEX_URL, HARNESS_CROSSREF_URL, HARNESS_SEMANTICSCHOLAR_URL, HARNESS_PUBMED_URL,
HARNESS_ARXIV_URL         other addresses, such as a mirror
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from skills.corpus.records import Found

VARIABLE = "HARNESS_SOURCES"
EMAIL = "HARNESS_EMAIL"
CORPUS = "corpus"
"""The name that restricts a search to the corpus."""


@dataclass(frozen=True, slots=True)
class Service:
    """The settings of a source.

    Attributes:
        title: the name of the source for messages.
        url: the address of the source.
        key: the environment variable of the key, or "".
        delay: seconds between two requests.
        delay_with_key: seconds between two requests with a key, or for Crossref with the user's
            address.
    """

    title: str
    url: str
    key: str
    delay: float
    delay_with_key: float


SERVICES: Mapping[str, Service] = {
    "openalex": Service("OpenAlex", "https://api.openalex.org", "OPENALEX_API_KEY", 0.2, 0.1),
    "crossref": Service("Crossref", "https://api.crossref.org", EMAIL, 1.0, 0.34),
    "semanticscholar": Service(
        "Semantic Scholar",
        "https://api.semanticscholar.org/graph/v1",
        "SEMANTIC_SCHOLAR_API_KEY",
        3.0,
        1.1,
    ),
    "pubmed": Service(
        "PubMed", "https://eutils.ncbi.nlm.nih.gov/entrez/eutils", "NCBI_API_KEY", 0.34, 0.11
    ),
    "arxiv": Service("arXiv", "https://export.arxiv.org/api/query", "", 3.0, 3.0),
}
NAMES = tuple(SERVICES)


@dataclass(frozen=True, slots=True)
class Query:
    """A search at a source.

    Attributes:
        text: the query in the syntax of the source.
        limit: maximum number of papers.
        since, until: the first and the last day of publication.
        with_abstract: True to leave out papers without an abstract.
    """

    text: str
    limit: int
    since: date | None = None
    until: date | None = None
    with_abstract: bool = True

    def chosen(self, found: Iterable[Found]) -> list[Found]:
        """Return the first `limit` papers that a source has found."""
        kept = (one for one in found if one.abstract or not self.with_abstract)
        return list(itertools.islice(kept, self.limit))


@dataclass(frozen=True, slots=True)
class Rates:
    """The sizes and prices of the requests to a source.

    Attributes:
        batch: number of papers that a request by id returns.
        page: number of papers that a request of a search returns.
        requests: number of requests for a batch by kind of identifier, if it is not 1.
        before_pages: number of requests of a search before its first page.
        by_ids, by_search: the price of a request by id, and of a search, in US dollars.
    """

    batch: int
    page: int
    requests: Mapping[str, int]
    before_pages: int = 0
    by_ids: float = 0.0
    by_search: float = 0.0


def named(text: str, *, more: Sequence[str] = ()) -> list[str]:
    """Return the distinct names of sources in a list separated by commas.

    Args:
        more: other names that are accepted.

    Raises:
        ValueError: a name is unknown, or there is no name.
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in NAMES and name not in more:
            raise ValueError(
                f"unknown source {name[:40]!r}; choose from {', '.join((*more, *NAMES))}"
            )
    if not names:
        raise ValueError(f"no source is named; choose from {', '.join((*more, *NAMES))}")
    return names


def switched_on(option: str | None) -> list[str]:
    """Return the sources in `--source`, or else in HARNESS_SOURCES, or else [].

    Raises:
        UsageError: the variable contains an unknown name.
    """
    if option:
        return [name for name in named(option, more=(CORPUS,)) if name != CORPUS]
    given = os.environ.get(VARIABLE, "").strip()
    try:
        return named(given) if given else []
    except ValueError as exc:
        raise UsageError(f"{VARIABLE}: {exc}") from exc


def required(option: str | None) -> list[str]:
    """Return the names of the enabled sources.

    Raises:
        UsageError: no source is enabled.
    """
    if names := switched_on(option):
        return names
    raise UsageError(
        "no source is switched on, and nothing is looked up unless one is",
        hint=f"Name some with --source, or in {VARIABLE}: {','.join(NAMES)}.",
    )
