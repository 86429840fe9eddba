"""Requests to the arXiv API: cached for a day, three seconds apart, with retries.

Importing this module imports requests and the `arxiv` package; import it where a request is made.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import arxiv  # type: ignore[import-untyped]
import requests
from filelock import FileLock, Timeout
from lxml import etree  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import InvalidHeader, ProtocolError, ReadTimeoutError
from urllib3.util import Retry

from harness._version import __version__
from harness.errors import OutputError, SkillFailed

URL_VARIABLE = "HARNESS_ARXIV_URL"
USER_AGENT = f"nanda-harness/{__version__}"
DAY = 86_400
"""Seconds a page is cached: arXiv publishes once a day."""
TIMEOUT = 20.0
"""Seconds to wait for a connection, and for each part of a response."""
DELAY = 3.0
"""Seconds between two requests, as arXiv's terms of use require."""
RETRIES = 3
"""Repetitions of a failed request; the pauses before them are 1, 2 and 4 times the delay."""
LONGEST_WAIT = 60.0
"""Seconds; a request fails where arXiv requires a longer pause."""
PATIENCE = 600.0
"""Seconds to wait for the requests of other processes."""
HINT = (
    "Try again in a minute; `/annotate FILE` annotates papers you have, "
    "and `--source corpus` surveys those of your corpus."
)

_BUSY = (429, 500, 502, 503, 504)
_ATOM = "{http://www.w3.org/2005/Atom}"
_TOTAL = "{http://a9.com/-/spec/opensearch/1.1/}totalResults"
_REQUIRED = ("id", "published", "updated")


def _address() -> str:
    return os.environ.get(URL_VARIABLE) or "https://export.arxiv.org/api/query"


@dataclass(slots=True)
class ArxivApi:
    """Access to the arXiv API.

    Attributes:
        folder: the cached pages, and the time of the last request of any process.
        notice: receives one line for each delay.
        url: the query address; HARNESS_ARXIV_URL names another one, such as a mirror.
        delay: seconds between two requests.
        wait: sleeps for some seconds.
    """

    folder: Path
    notice: Callable[[str], None] = lambda _: None
    url: str = field(default_factory=_address)
    timeout: float = TIMEOUT
    delay: float = DELAY
    wait: Callable[[float], None] = time.sleep

    def results(self, search: arxiv.Search, page_size: int) -> list[arxiv.Result]:
        """Return the results of a search.

        Raises:
            SkillFailed: arXiv cannot be reached, refuses, or sends something other than papers.
            OutputError: the cache cannot be used.
        """
        client = arxiv.Client(page_size=page_size, delay_seconds=0, num_retries=RETRIES)
        client.query_url_format = f"{self.url}?{{}}"
        try:
            with self._session() as session:
                client._session = session  # the package has no public way to set it
                return list(client.results(search))
        except arxiv.UnexpectedEmptyPageError as exc:
            raise self.failed("it has papers for this query, but sends an empty page") from exc
        except requests.RequestException as exc:
            raise self.failed(str(exc)) from exc
        except (OSError, sqlite3.Error) as exc:
            raise OutputError(
                f"the cache of arXiv pages cannot be used: {exc}",
                where=str(self.folder),
                hint="Delete the folder, or name another cache with HARNESS_CACHE.",
            ) from exc

    def failed(self, reason: str) -> SkillFailed:
        """Return the error for a request without a usable response."""
        return SkillFailed(f"arXiv request failed: {reason}", where=self.url, hint=HINT)

    def _session(self) -> CachedSession:
        self.folder.mkdir(parents=True, exist_ok=True)
        session = CachedSession(
            str(self.folder / "pages.sqlite"),
            serializer="json",
            expire_after=DAY,
            allowable_codes=(200,),
            filter_fn=_has_papers,
        )
        session.cache.delete(expired=True)
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Adapter(self))
        return session

    def check(self, response: requests.Response) -> None:
        """Check that a response is a whole feed: a truncated one reads like one with fewer papers.

        Raises:
            SkillFailed: it is not.
            UnexpectedEmptyPageError: it has no entry although there are papers; the `arxiv` package
                repeats the request.
        """
        if response.status_code != 200:
            raise self.failed(f"HTTP {response.status_code} {response.reason}")
        try:
            root = etree.fromstring(response.content)
        except etree.XMLSyntaxError as exc:
            raise self.failed("the response is damaged or cut off") from exc
        if root.tag != f"{_ATOM}feed":
            raise self.failed("the response is not a list of papers")
        entries = root.findall(f"{_ATOM}entry")
        if any(entry.find(_ATOM + name) is None for entry in entries for name in _REQUIRED):
            raise self.failed(f"an entry lacks one of {', '.join(_REQUIRED)}")
        total = (root.findtext(_TOTAL) or "").strip()
        if not entries and total not in ("", "0"):
            self.notice(f"arXiv has {total} papers for this query, but sent an empty page")
            raise arxiv.UnexpectedEmptyPageError(response.url, 0, None)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Make one request inside: alone among all processes, `delay` after the last one.

        Raises:
            SkillFailed: other processes make requests all the time.
        """
        stamp = self.folder / "last-request"
        try:
            with FileLock(self.folder / "last-request.lock", timeout=PATIENCE):
                passed = time.time() - stamp.stat().st_mtime if stamp.exists() else self.delay
                if passed < self.delay:
                    self.wait(self.delay - max(0.0, passed))
                try:
                    yield
                finally:
                    stamp.touch()
        except Timeout as exc:
            raise self.failed(f"other processes have been using it for {PATIENCE:.0f} s") from exc


class _Adapter(HTTPAdapter):
    """Sends the requests that the cache cannot serve."""

    def __init__(self, api: ArxivApi) -> None:
        super().__init__(max_retries=_Retry.of(api))
        self.api = api

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        api = self.api
        request.headers["User-Agent"] = USER_AGENT
        with api.turn():
            try:
                response = super().send(request, **{**options, "timeout": api.timeout})
                response.content  # noqa: B018 (reads the body within this turn)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as exc:
                reason = getattr(exc.args[0], "reason", exc.args[0])
                raise api.failed(_words(reason, api.timeout)) from exc
        api.check(response)
        return response


class _Retry(Retry):
    """urllib3's retries, with a notice before each pause."""

    api: ArxivApi

    @classmethod
    def of(cls, api: ArxivApi) -> _Retry:
        retry = cls(RETRIES, connect=0, status_forcelist=_BUSY, raise_on_status=False)
        retry.api = api
        return retry

    def new(self, **changes: Any) -> _Retry:
        retry = super().new(**changes)
        retry.api = self.api
        return retry

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        pause, reason = self.api.delay * 2 ** (len(self.history) - 1), "the connection failed"
        if response is not None:
            reason = f"HTTP {response.status} {response.reason}"
            with contextlib.suppress(InvalidHeader):
                pause = max(pause, self.get_retry_after(response) or 0.0)
        if pause > LONGEST_WAIT:
            raise self.api.failed(f"{reason}; arXiv requires a pause of {pause:.0f} s")
        self.api.notice(f"arXiv request failed: {reason}; next attempt in {pause:.0f} s")
        self.api.wait(pause)


def _has_papers(response: Any) -> bool:
    """Return True if a page can be cached; arXiv also sends empty pages by mistake."""
    return b"<entry" in response.content and b"/api/errors" not in response.content


def _words(reason: object, timeout: float) -> str:
    if isinstance(reason, ReadTimeoutError):
        return f"no response within {timeout:g} s"
    if isinstance(reason, ProtocolError):
        return "the connection was closed before the response was complete"
    return f"arXiv cannot be reached ({type(reason).__name__})"
