"""Papers from arXiv, through its API and the `arxiv` package.

HARNESS_ARXIV_URL names another address for queries than the package's own (a mirror, a test).
What the package leaves open is closed here: its requests know no timeout, and its parser takes a
feed that was cut off, or a page that is no feed, for one with fewer papers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import NothingFound, SkillFailed
from skills.nanda.wording import flatten

if TYPE_CHECKING:
    import arxiv  # type: ignore[import-untyped]
    import requests

URL_VARIABLE = "HARNESS_ARXIV_URL"
TIMEOUT = 20.0
"""Seconds to wait for a connection, and for each piece of an answer."""
DELAY = 3.0
"""Seconds between two requests, which arXiv's terms of use ask for."""
RETRIES = 1

_ID = (
    r"(?P<id>(?:\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z]+(?:-[a-z]+)*(?:\.[a-z]{2})?/\d{7})(?:v\d+)?)"
)
ID_OR_PAGE = re.compile(
    rf"(?:arxiv:\s*|(?:https?://)?(?:www\.|export\.)?arxiv\.org/(?:abs|pdf|html)/)?{_ID}"
    r"(?:\.pdf)?/?(?:[?#]\S*)?",
    re.IGNORECASE,
)
_ATOM = "{http://www.w3.org/2005/Atom}"
_HINT = "Try again in a minute, or give the abstract itself, as text or as a file."


@dataclass(frozen=True, slots=True)
class Entry:
    """What arXiv says of a paper; `id` has no version, `versioned_id` the one that was read."""

    id: str
    versioned_id: str
    title: str
    abstract: str


@dataclass(slots=True)
class _Feed:
    """What the answers held that the package does not tell: how many entries it was given."""

    entries: int = 0

    def check(self, response: requests.Response, **_: Any) -> None:
        """Refuse an answer that is no whole Atom feed."""
        from lxml import etree  # type: ignore[import-untyped]

        if response.status_code != 200:
            return
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        try:
            root = etree.fromstring(response.content, parser=parser)
        except etree.XMLSyntaxError as exc:
            raise _failed("its answer is damaged or cut off", response.url) from exc
        if root.tag != f"{_ATOM}feed":
            raise _failed("its answer is no list of papers", response.url)
        self.entries += len(root.findall(f"{_ATOM}entry"))


def fetch(
    arxiv_id: str,
    *,
    environ: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    delay: float = DELAY,
) -> Entry:
    """Get the paper of an arXiv id, with or without version.

    Raises:
        NothingFound: arXiv has no such paper.
        SkillFailed: arXiv cannot be reached, refuses, or answers with something else.
    """
    import arxiv
    import requests

    client = arxiv.Client(page_size=1, delay_seconds=delay, num_retries=RETRIES)
    url = (os.environ if environ is None else environ).get(URL_VARIABLE)
    if url:
        client.query_url_format = _query_format(url)
    feed = _Feed()
    with closing(_guard(client, timeout, feed)):
        try:
            found = list(client.results(arxiv.Search(id_list=[arxiv_id], max_results=1)))
        except arxiv.HTTPError as exc:
            raise _failed(f"it answered HTTP {exc.status}", exc.url) from exc
        except arxiv.ArxivError as exc:
            raise _failed(exc.message, exc.url) from exc
        except requests.Timeout as exc:
            raise _failed(f"no answer within {timeout:g} s", url) from exc
        except requests.exceptions.ChunkedEncodingError as exc:
            raise _failed("its answer was cut off", url) from exc
        except requests.RequestException as exc:
            raise _failed(f"it cannot be reached ({type(exc).__name__})", url) from exc
        except ValueError as exc:  # the package's own reading of dates
            raise _failed(f"its answer is not understood ({exc})", url) from exc
    if not found and not feed.entries:
        raise NothingFound(f"arXiv has no paper {arxiv_id}", hint="Is the id right?")
    return _entry(found[0] if found else None, arxiv_id, url)


def _query_format(url: str) -> str:
    """The package's form of a query address: `{}` stands for the query."""
    return url.replace("{", "{{").replace("}", "}}") + ("&{}" if "?" in url else "?{}")


def _guard(client: arxiv.Client, timeout: float, feed: _Feed) -> requests.Session:
    """Give the client's session a timeout and the check of `feed`; the package has no other way."""
    from requests import PreparedRequest, Response
    from requests.adapters import HTTPAdapter

    class Impatient(HTTPAdapter):
        def send(self, request: PreparedRequest, *_: Any, **options: Any) -> Response:
            return super().send(request, **{**options, "timeout": timeout})

    session: requests.Session = client._session
    session.mount("https://", Impatient())
    session.mount("http://", Impatient())
    session.hooks["response"].append(feed.check)
    return session


def _entry(found: arxiv.Result | None, arxiv_id: str, url: str | None) -> Entry:
    if found is None:
        raise _failed("its answer lacks what a paper must have", url)
    if "/api/errors" in found.entry_id:
        raise NothingFound(
            f"arXiv does not know {arxiv_id}: {flatten(found.summary)}", hint="Is the id right?"
        )
    versioned = found.get_short_id()
    bare = _without_version(versioned)
    if _comparable(bare) != _comparable(arxiv_id):
        raise _failed(f"asked for {arxiv_id}, it answered with {flatten(versioned)[:60]}", url)
    abstract = found.summary.strip()
    if not abstract:
        raise _failed(f"its entry of {arxiv_id} has no abstract", url)
    return Entry(bare, versioned, flatten(found.title), abstract)


def _without_version(arxiv_id: str) -> str:
    return re.sub(r"v\d+$", "", arxiv_id)


def _comparable(arxiv_id: str) -> str:
    """Without version and, in an old id, without the subject class, which arXiv leaves out."""
    return re.sub(r"\.[a-z]{2}(?=/)", "", _without_version(arxiv_id).casefold())


def _failed(what: str, url: str | None) -> SkillFailed:
    return SkillFailed(f"arXiv did not help: {what}", where=url, hint=_HINT)
