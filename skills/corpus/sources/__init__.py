"""Sources of papers: the services OpenAlex, Crossref, Semantic Scholar, PubMed and arXiv."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from harness.api.skill import Call
from harness.errors import Interrupted
from skills.corpus.sources import services
from skills.corpus.sources.services import EMAIL, Service

if TYPE_CHECKING:
    from skills.corpus.sources.access import Source
    from skills.corpus.sources.arxiv import Arxiv


def opened(name: str, call: Call) -> Source:
    """Return the source with this name, configured by the settings and environment of a run."""
    service = services.SERVICES[name]
    key = os.environ.get(service.key, "").strip() if service.key else ""

    def wait(seconds: float) -> None:
        if call.cancel.wait(seconds):
            raise Interrupted("interrupted")

    return _class_of(name)(
        url=(os.environ.get(f"HARNESS_{name.upper()}_URL") or service.url).rstrip("/"),
        folder=call.settings.cache_dir / name,
        notice=call.screen.notice,
        delay=service.delay_with_key if key else service.delay,
        wait=wait,
        key=key,
        key_hint=_key_hint(service, key),
    )


def open_arxiv(call: Call) -> Arxiv:
    """Return the source arXiv, typed for the methods that only arXiv has."""
    return cast("Arxiv", opened("arxiv", call))


def _class_of(name: str) -> type[Source]:
    """Return the class of a source; its module, which imports requests, is imported only here."""
    if name == "openalex":
        from skills.corpus.sources.openalex import OpenAlex

        return OpenAlex
    if name == "crossref":
        from skills.corpus.sources.crossref import Crossref

        return Crossref
    if name == "semanticscholar":
        from skills.corpus.sources.semantic_scholar import SemanticScholar

        return SemanticScholar
    if name == "pubmed":
        from skills.corpus.sources.pubmed import PubMed

        return PubMed
    from skills.corpus.sources.arxiv import Arxiv

    return Arxiv


def _key_hint(service: Service, key: str) -> str:
    if service.key in ("", EMAIL):
        return ""
    if key:
        return f"Is the key in {service.key} right, and are requests left for today?"
    return f"Set {service.key} to your key; {service.title} answers few requests without a key."
