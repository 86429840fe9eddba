"""Define the addresses, keys and rates of the sources of papers; select and open sources.

Users configure the sources with these environment variables:

    HARNESS_SOURCES           the enabled sources, such as openalex,crossref; --source overrides it
    HARNESS_EMAIL             your email address for PubMed, and for Crossref's faster service
    OPENALEX_API_KEY, SEMANTIC_SCHOLAR_API_KEY,
    NCBI_API_KEY              your API keys for OpenAlex, Semantic Scholar and PubMed
    HARNESS_OPENALEX_URL, HARNESS_CROSSREF_URL, HARNESS_SEMANTICSCHOLAR_URL, HARNESS_PUBMED_URL,
    HARNESS_ARXIV_URL         base URLs of mirrors
"""

from __future__ import annotations

import itertools
import os
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, cast

from harness.api.skill import Call
from harness.errors import Interrupted, UsageError
from skills.corpus.options import CORPUS, NAMES, named

if TYPE_CHECKING:
    from skills.corpus.db.completion import Facts
    from skills.corpus.sources.access import Source
    from skills.corpus.sources.arxiv import Arxiv

VARIABLE = "HARNESS_SOURCES"
EMAIL = "HARNESS_EMAIL"


@dataclass(frozen=True, slots=True)
class Service:
    """The settings of a source.

    Attributes:
        title: the name of the source in messages.
        url: the base URL of the API.
        key: the environment variable with the API key, or with the user's email address in the case
            of Crossref; "" if the source accepts no key.
        delay: minimum seconds between two requests without a key.
        delay_with_key: minimum seconds between two requests with a key.
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
_CLASSES = {
    "openalex": "openalex:OpenAlex",
    "crossref": "crossref:Crossref",
    "semanticscholar": "semantic_scholar:SemanticScholar",
    "pubmed": "pubmed:PubMed",
    "arxiv": "arxiv:Arxiv",
}
"""The module and the class of each source, as text, since importing the modules is slow."""


@dataclass(frozen=True, slots=True)
class SourceQuery:
    """A search at a source.

    Attributes:
        text: the words of the query; some sources also accept operators.
        limit: maximum number of papers.
        since: the first day of publication, or None.
        until: the last day of publication, or None.
        with_abstract: True to omit papers without an abstract.
    """

    text: str
    limit: int
    since: date | None = None
    until: date | None = None
    with_abstract: bool = True

    def chosen(self, found: Iterable[Facts]) -> list[Facts]:
        """Return the first `limit` papers, after removing papers that lack a required abstract."""
        kept = (one for one in found if one.abstract or not self.with_abstract)
        return list(itertools.islice(kept, self.limit))


@dataclass(frozen=True, slots=True)
class Rates:
    """The sizes and prices of the requests to a source.

    Attributes:
        batch: maximum number of papers in a request by id.
        page: maximum number of papers in a page of search results.
        requests: the number of HTTP requests for a batch, for each kind of identifier that needs
            more than one request.
        before_pages: number of requests of a search before the first page.
        by_ids: the price of a request by id, in US dollars.
        by_search: the price of a request of a search, in US dollars.
    """

    batch: int
    page: int
    requests: Mapping[str, int]
    before_pages: int = 0
    by_ids: float = 0.0
    by_search: float = 0.0


def opened(name: str, call: Call) -> Source:
    """Return the source with this name, configured by the settings and environment of a run."""
    service = SERVICES[name]
    key = os.environ.get(service.key, "").strip() if service.key else ""
    hint = f"Set {service.key} to your key; {service.title} answers few requests without a key."
    if key:
        hint = f"Is the key in {service.key} right, and are requests left for today?"

    def wait(seconds: float) -> None:
        if call.cancel.wait(seconds):
            raise Interrupted("interrupted")

    source: type[Source] = pkgutil.resolve_name(f"{__package__}.{_CLASSES[name]}")
    return source(
        url=(os.environ.get(f"HARNESS_{name.upper()}_URL") or service.url).rstrip("/"),
        folder=call.settings.cache_dir / name,
        notice=call.screen.notice,
        delay=service.delay_with_key if key else service.delay,
        wait=wait,
        key=key,
        key_hint="" if service.key in ("", EMAIL) else hint,
    )


def open_arxiv(call: Call) -> Arxiv:
    """Return the source arXiv with the type `Arxiv`, which has more methods than `Source`."""
    return cast("Arxiv", opened("arxiv", call))


def switched_on(option: str | None) -> list[str]:
    """Return the names of the enabled sources, from `--source` or else from HARNESS_SOURCES.

    Raises:
        UsageError: HARNESS_SOURCES contains an unknown name, or only commas.
    """
    if option:
        return [name for name in named(option, more=(CORPUS,)) if name != CORPUS]
    given = os.environ.get(VARIABLE, "").strip()
    try:
        return named(given) if given else []
    except ValueError as exc:
        raise UsageError(f"{VARIABLE}: {exc}") from exc


def required(option: str | None) -> list[str]:
    """Return the names of the enabled sources; at least one source must be enabled.

    Raises:
        UsageError: no source is enabled.
    """
    if names := switched_on(option):
        return names
    raise UsageError(
        "no source is switched on, so that nothing can be looked up",
        hint=f"Name sources with --source or in {VARIABLE}: {','.join(NAMES)}.",
    )
