"""Sources of papers: the services OpenAlex, Crossref, Semantic Scholar, PubMed and arXiv."""

from __future__ import annotations

import os
import pkgutil
from typing import TYPE_CHECKING, cast

from harness.api.skill import Call
from harness.errors import Interrupted
from skills.corpus.sources import services
from skills.corpus.sources.services import EMAIL, Service

if TYPE_CHECKING:
    from skills.corpus.sources.access import Source
    from skills.corpus.sources.arxiv import Arxiv


_CLASSES = {
    "openalex": "openalex:OpenAlex",
    "crossref": "crossref:Crossref",
    "semanticscholar": "semantic_scholar:SemanticScholar",
    "pubmed": "pubmed:PubMed",
    "arxiv": "arxiv:Arxiv",
}
"""The module and the class of each source; the modules import requests, which is slow."""


def opened(name: str, call: Call) -> Source:
    """Return the source with this name, configured by the settings and environment of a run."""
    service = services.SERVICES[name]
    key = os.environ.get(service.key, "").strip() if service.key else ""

    def wait(seconds: float) -> None:
        if call.cancel.wait(seconds):
            raise Interrupted("interrupted")

    source: type[Source] = pkgutil.resolve_name(f"{__name__}.{_CLASSES[name]}")
    return source(
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


def _key_hint(service: Service, key: str) -> str:
    if service.key in ("", EMAIL):
        return ""
    if key:
        return f"Is the key in {service.key} right, and are requests left for today?"
    return f"Set {service.key} to your key; {service.title} answers few requests without a key."
