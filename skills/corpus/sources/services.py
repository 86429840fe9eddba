"""Which sources are switched on, and with which addresses, keys and rates.

HARNESS_SOURCES           sources that are used without --source: openalex,crossref
HARNESS_EMAIL             your address, for Crossref, which is faster then, and PubMed
OPENALEX_API_KEY, SEMANTIC_SCHOLAR_API_KEY, NCBI_API_KEY
HARNESS_OPENALEX_URL, HARNESS_CROSSREF_URL, HARNESS_SEMANTICSCHOLAR_URL, HARNESS_PUBMED_URL,
HARNESS_ARXIV_URL         other addresses, such as that of a mirror
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness._version import __version__
from harness.api.skill import Call
from harness.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from skills.corpus.sources.source import Source

VARIABLE = "HARNESS_SOURCES"
EMAIL = "HARNESS_EMAIL"
CORPUS = "corpus"
"""The name by which a search is confined to the corpus, without a request."""


@dataclass(frozen=True, slots=True)
class Service:
    """A source as it is without a request.

    Attributes:
        title: its name for messages.
        url: its address.
        key: the environment variable of its key, if it has any.
        delay: seconds between two requests.
        delay_with_key: with a key, or for Crossref with an address of the user.
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


def named(text: str, *, more: Sequence[str] = ()) -> list[str]:
    """Return the names of sources in a list with commas, each once.

    Args:
        more: other names that are accepted.

    Raises:
        ValueError: a name is not that of a source.
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in NAMES and name not in more:
            raise ValueError(f"{name[:40]!r} is no source; there are {', '.join((*more, *NAMES))}")
    if not names:
        raise ValueError(f"no source is named; there are {', '.join((*more, *NAMES))}")
    return names


def switched_on(option: str | None) -> list[str]:
    """Return the names of the sources of `--source`, else those of HARNESS_SOURCES; else none.

    Raises:
        UsageError: the variable names another one.
    """
    if option:
        return [name for name in named(option, more=(CORPUS,)) if name != CORPUS]
    given = os.environ.get(VARIABLE, "").strip()
    try:
        return named(given) if given else []
    except ValueError as exc:
        raise UsageError(f"{VARIABLE}: {exc}") from exc


def required(option: str | None) -> list[str]:
    """Return the names of the sources that are switched on.

    Raises:
        UsageError: there is none.
    """
    if names := switched_on(option):
        return names
    raise UsageError(
        "no source is switched on, and nothing is looked up unless one is",
        hint=f"Name some with --source, or in {VARIABLE}: {','.join(NAMES)}.",
    )


def opened(name: str, call: Call) -> Source:
    """Return a source for a run."""
    service = SERVICES[name]
    key = os.environ.get(service.key, "").strip() if service.key else ""
    options: dict[str, Any] = {
        "url": (os.environ.get(f"HARNESS_{name.upper()}_URL") or service.url).rstrip("/"),
        "delay": service.delay_with_key if key else service.delay,
        "wait": _waiting(call),
    }
    if name == "arxiv":
        from skills.corpus.sources.arxiv import Arxiv
        from skills.corpus.sources.arxiv_api import ArxivApi

        return Arxiv(ArxivApi(call.settings.cache_dir / name, call.screen.notice, **options))
    options |= {
        "name": service.title,
        "folder": call.settings.cache_dir / name,
        "notice": call.screen.notice,
        "key_hint": _key_hint(service, key),
    }
    return _MADE[name](key, options)


def _openalex(key: str, options: dict[str, Any]) -> Source:
    from skills.corpus.sources.openalex import OpenAlex, OpenAlexAccess

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return OpenAlex(OpenAlexAccess(**options, headers=headers))


def _crossref(email: str, options: dict[str, Any]) -> Source:
    from skills.corpus.sources.crossref import Crossref, CrossrefAccess

    agent = f"nanda-harness/{__version__} (mailto:{email})"
    return Crossref(CrossrefAccess(**options, headers={"User-Agent": agent} if email else {}))


def _semantic_scholar(key: str, options: dict[str, Any]) -> Source:
    from skills.corpus.sources.semantic_scholar import SemanticScholar, SemanticScholarAccess

    return SemanticScholar(
        SemanticScholarAccess(**options, headers={"x-api-key": key} if key else {})
    )


def _pubmed(key: str, options: dict[str, Any]) -> Source:
    from skills.corpus.sources.pubmed import PubMed, PubMedAccess

    known = {"tool": "nanda-harness", "email": os.environ.get(EMAIL, ""), "api_key": key}
    form = {name: value for name, value in known.items() if value}
    return PubMed(PubMedAccess(**options, form=form))


_MADE: Mapping[str, Callable[[str, dict[str, Any]], Source]] = {
    "openalex": _openalex,
    "crossref": _crossref,
    "semanticscholar": _semantic_scholar,
    "pubmed": _pubmed,
}


def _key_hint(service: Service, key: str) -> str:
    if service.key in ("", EMAIL):
        return ""
    if key:
        return f"Is the key in {service.key} right, and is its quota of today left?"
    return f"Set {service.key} to your key; {service.title} serves little without one."


def _waiting(call: Call) -> Callable[[float], None]:
    """Return a function that sleeps for some seconds, unless the run is stopped."""

    def wait(seconds: float) -> None:
        if call.cancel.wait(seconds):
            raise Interrupted("interrupted")

    return wait
