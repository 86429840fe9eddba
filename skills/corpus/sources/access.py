"""Send requests to a source of papers, with a cache, a rate limit and retries.

Importing this module is slow, since it imports the package `requests`. At run time, only the
modules of the sources import this module; `services.opened` loads them.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ProtocolError, ReadTimeoutError
from urllib3.util import Retry

from harness._version import __version__
from harness.errors import OutputError, SkillFailed, SourceUnavailable
from harness.support.bounded_http import Meter, has_too_many_values, retry_after
from harness.support.calls import Overdue, within
from skills.corpus.db.completion import Facts
from skills.corpus.sources.services import SERVICES, Rates, SourceQuery

USER_AGENT = f"nanda-harness/{__version__}"
DAY = 86_400
"""Seconds for which a response is cached."""
TIMEOUT = 20.0
"""Timeout in seconds for the connection, and for each read of the response."""
RETRIES = 3
"""Number of retries of a failed request.

The pause before the first retry is the longer of 1 s and the delay of the source; with a delay
below 0.1 s, it is 10 times the delay. Each further pause is twice as long as the pause before. A
longer pause that the source requests takes precedence.
"""
LONGEST_WAIT = 60.0
"""Maximum pause in seconds; a request fails if the source asks for a longer pause."""
PATIENCE = 600.0
"""Maximum seconds to wait until other processes have sent their requests."""

LONGEST_ANSWER = 16_000_000
"""Maximum size of a response in bytes, after decompression."""
LONGEST = 600.0
"""Maximum duration of a request in seconds, including retries and the pauses before them."""
MOST_VALUES = 1_000_000
"""Maximum number of values in a JSON response."""
CHUNK = 1 << 16

_BUSY = (429, 500, 502, 503, 504)
_REFUSED = (401, 403)


@dataclass
class Source(ABC):
    """A source of papers: a service with an HTTP API.

    Requests are sent one at a time, across all processes that use the same `folder`.

    Attributes:
        name: the name of the source in options and environment variables.
        kinds: the kinds of identifiers that the source accepts, in the order of preference.
        states: the names of the facts that the source may state about a paper.
        rates: the sizes and prices of requests.
        key_header: the name of the HTTP header that contains the key, and its value with {} in
            place of the key; empty if the key is not in a header.
        hint: the hint of `failed`, and the default hint of `unavailable`.
        url: the base URL of the API.
        folder: the folder with the cache and the time of the last request.
        notice: prints a message before a failed request is repeated.
        timeout: see `TIMEOUT`.
        delay: minimum seconds between two requests.
        wait: sleeps for a number of seconds.
        key: the user's API key or email address. It is added to a request only when the request is
            sent, so that it does not occur in the cache, in a message or in a log.
        key_hint: the hint about the key in errors for the HTTP status 401, 403 or 429; "" to use
            `hint`.
        sent: number of requests that were sent, without retries and cached responses.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    states: ClassVar[frozenset[str]]
    rates: ClassVar[Rates]
    key_header: ClassVar[tuple[str, str]] = ("", "")
    hint: ClassVar[str] = (
        "Try again in a minute: received answers are cached, and finished work is kept."
    )

    url: str
    folder: Path
    notice: Callable[[str], None] = lambda _: None
    timeout: float = TIMEOUT
    delay: float = 1.0
    wait: Callable[[float], None] = time.sleep
    key: str = field(default="", repr=False)
    key_hint: str = ""
    sent: int = 0

    @abstractmethod
    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Facts]:
        """Return the papers with these identifiers, by identifier.

        Papers that the source does not have are missing from the result.

        Args:
            kind: the kind of the identifiers; one of `kinds`.
            values: at most `rates.batch` identifiers.

        Raises:
            SkillFailed: the source refuses the request, or the response cannot be parsed.
            SourceUnavailable: the source cannot serve requests at present.
            OutputError: the cache cannot be read or written.
        """

    @abstractmethod
    def search(self, query: SourceQuery) -> list[Facts]:
        """Search for papers, and return the results, the most relevant first.

        Raises:
            SkillFailed, SourceUnavailable, OutputError: as for `by_ids`.
        """

    @abstractmethod
    def check_content(self, response: requests.Response) -> None:
        """Check the content of a response with status 200; only valid responses are cached.

        Raises:
            SkillFailed: the response is incomplete, or not of the API's documented form.
        """

    def parsed_xml(self, response: requests.Response) -> Any:
        """Return the root element of an XML response; entities are not expanded.

        Raises:
            SkillFailed: the response is not well-formed XML.
        """
        from lxml import etree  # type: ignore[import-untyped]

        try:
            parser = etree.XMLParser(resolve_entities=False, no_network=True)
            return etree.fromstring(response.content, parser)
        except etree.XMLSyntaxError as exc:
            raise self.failed("the response is damaged or cut off") from exc

    @property
    def title(self) -> str:
        """The name of the source in messages."""
        return SERVICES[self.name].title

    @property
    def form(self) -> dict[str, str]:
        """The form fields that are added to the body of a POST; by default, no fields."""
        return {}

    def found(self, identifiers: Mapping[str, str], **stated: Any) -> Facts:
        """Return the facts that this source states about a paper.

        Args:
            identifiers: the identifiers by kind; empty identifiers are removed.
            stated: other fields of `Facts`.
        """
        return Facts(self.name, {kind: one for kind, one in identifiers.items() if one}, **stated)

    def request(self, method: str, path: str = "", **content: Any) -> requests.Response:
        """Return the response to a request, from the cache if the response is cached.

        Args:
            method: the HTTP method.
            path: the path after the base URL.
            content: keyword arguments of `requests.Session.request`.

        Raises:
            SkillFailed: the source refuses the request, or the response is invalid.
            SourceUnavailable: the source cannot be reached, or cannot serve requests at present.
            OutputError: the cache cannot be read or written.
        """
        try:
            with self._session() as session:
                return session.request(method, self.url + path, **content)
        except requests.RequestException as exc:
            raise self.failed(type(exc).__name__) from exc
        except (OSError, sqlite3.Error) as exc:
            raise OutputError(
                f"the cache of {self.title} pages cannot be used: {exc}",
                where=str(self.folder),
                hint="Delete the folder, or select another cache folder with HARNESS_CACHE.",
            ) from exc

    def failed(self, reason: str) -> SkillFailed:
        """Return the error for a request that failed."""
        return SkillFailed(f"{self.title} request failed: {reason}", where=self.url, hint=self.hint)

    def unavailable(self, reason: str, hint: str = "") -> SourceUnavailable:
        """Return the error for a source that cannot serve requests at present."""
        return SourceUnavailable(
            f"{self.title} request failed: {reason}", where=self.url, hint=hint or self.hint
        )

    def check(self, response: requests.Response) -> None:
        """Raise an error for a response that must not be cached or used.

        Raises:
            SkillFailed: the source refuses the request, or the response is invalid.
            SourceUnavailable: the source is busy or unavailable, or refuses the key.
        """
        status = response.status_code
        reason = f"HTTP {status} {response.reason}"
        if status in _REFUSED and self.key_hint:
            raise self.unavailable(reason, self.key_hint)
        if status in _BUSY:
            raise self.unavailable(reason, self.key_hint if status == 429 else "")
        if response.is_redirect:  # redirects are not followed, since a request may contain the key
            reason += f", a redirect to {response.headers['location']}"
        if status != 200:
            raise self.failed(reason)
        self.check_content(response)

    def lasts(self, response: Any) -> bool:
        """Return True if a valid response may be cached."""
        return True

    def _session(self) -> CachedSession:
        self.folder.mkdir(parents=True, exist_ok=True)
        session = CachedSession(
            str(self.folder / "pages.sqlite"),
            serializer="json",
            expire_after=DAY,
            allowable_codes=(200,),
            allowable_methods=("GET", "POST"),
            filter_fn=self.lasts,
        )
        session.cache.delete(expired=True)
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Adapter(self))
        return session

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Lock the source, so that no other process sends a request during the block.

        The block begins at least `delay` seconds after the end of the last request of any process.

        Raises:
            SourceUnavailable: other processes sent requests for `PATIENCE` seconds.
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
            reason = f"other processes have been using it for {PATIENCE:.0f} s"
            raise self.unavailable(reason) from exc

    def signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return a copy of a request with the user's key and the fields of `form`."""
        made = request.copy()
        name, value = self.key_header
        if self.key and name:
            made.headers[name] = value.format(self.key)
        if self.form and isinstance(made.body, (str, bytes)):
            body = made.body if isinstance(made.body, str) else made.body.decode()
            made.body = f"{body}&{urlencode(self.form)}"
            made.headers["Content-Length"] = str(len(made.body.encode()))
        return made


class _Adapter(HTTPAdapter):
    """Sends the requests whose responses are not in the cache."""

    def __init__(self, source: Source) -> None:
        super().__init__(max_retries=_retries(source))
        self.source = source

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        source = self.source
        request.headers["User-Agent"] = USER_AGENT
        with source.turn():
            source.sent += 1
            sent = source.signed(request)
            try:
                response = within(LONGEST, lambda: self._fetch(sent, options), "request")
            except Overdue as exc:
                raise source.unavailable(f"no complete response within {LONGEST:.0f} s") from exc
        response.request = request  # so that the cache stores the request without the key
        source.check(response)
        return response

    def _fetch(self, request: requests.PreparedRequest, options: Any) -> requests.Response:
        source = self.source
        try:
            response = super().send(request, **{**options, "timeout": source.timeout})
            meter = Meter(source.title, LONGEST_ANSWER)
            response._content = b"".join(map(meter.feed, response.iter_content(CHUNK)))
            return response
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as exc:
            cause = getattr(exc.args[0], "reason", exc.args[0])
            reason = f"{source.title} cannot be reached ({type(cause).__name__})"
            if isinstance(cause, ReadTimeoutError):
                reason = f"no response within {source.timeout:g} s"
            elif isinstance(cause, ProtocolError):
                reason = "the connection was closed before the response was complete"
            raise source.unavailable(reason) from exc


def _retries(source: Source) -> Retry:
    """Return a retry policy for urllib3 that limits the pauses and announces each pause."""

    class Announced(Retry):
        def sleep(self, response: BaseHTTPResponse | None = None) -> None:
            first = max(source.delay, min(1.0, source.delay * 10))
            pause, reason = first * 2 ** (len(self.history) - 1), "the connection failed"
            if response is not None:
                reason = f"HTTP {response.status} {response.reason}"
                pause = max(pause, retry_after(response.headers.get("retry-after")) or 0.0)
            if pause > LONGEST_WAIT:
                raise source.unavailable(
                    f"{reason}; {source.title} requires a pause of {pause:.0f} s",
                    "Repeat the line after the pause: finished work is kept.",
                )
            source.notice(f"{source.title} request failed: {reason}; next attempt in {pause:.0f} s")
            source.wait(pause)

    # A POST may be repeated safely, since the APIs only read.
    return Announced(
        RETRIES, connect=0, status_forcelist=_BUSY, raise_on_status=False, allowed_methods=None
    )


class JsonSource(Source):
    """A source with a JSON API."""

    @abstractmethod
    def is_answer(self, found: Any) -> bool:
        """Return True if a parsed response has the documented form of the API."""

    def check_content(self, response: requests.Response) -> None:
        self.read(response)

    def read(self, response: requests.Response) -> Any:
        """Return the value of a JSON response.

        Raises:
            SkillFailed: the response is not JSON, is cut off, has too many values, or is not of the
                API's documented form.
        """
        if has_too_many_values(response.content, MOST_VALUES):
            raise self.failed(f"the response has more than {MOST_VALUES:,} values")
        try:
            found = response.json()
        except (ValueError, RecursionError) as exc:
            raise self.failed("the response is not JSON, or cut off") from exc
        if not self.is_answer(found):
            raise self.failed("the response does not have the documented form")
        return found

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Send a GET request, and return the value of the JSON response.

        Raises:
            SkillFailed, SourceUnavailable, OutputError: as for `request` and `read`.
        """
        return self.read(self.request("GET", path, params=parameters))


class CursorSource(JsonSource):
    """A source with a JSON API that returns works in pages, linked by cursors.

    Attributes:
        words: the URL parameter with the words of a search.
        size: the URL parameter with the number of works in a page.
        conditions: the names of three conditions in the URL parameter "filter": the first day of
            publication, the last day of publication, and the presence of an abstract.
        separators: characters that separate the values of "filter", and cannot be escaped.
    """

    words: ClassVar[str]
    size: ClassVar[str]
    conditions: ClassVar[tuple[str, str, str]]
    separators: ClassVar[str]

    @abstractmethod
    def filter_by(self, kind: str, values: Sequence[str]) -> str:
        """Return the value of "filter" for the works with these identifiers."""

    @abstractmethod
    def page(self, parameters: Mapping[str, str]) -> tuple[list[Facts], str]:
        """Request a page of results; return its papers and the cursor of the next page, or ""."""

    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Facts]:
        sendable = [value for value in values if set(self.separators).isdisjoint(value)]
        if not sendable:
            return {}
        size = {self.size: str(self.rates.page)}
        found, _ = self.page({"filter": self.filter_by(kind, sendable), **size})
        return by_value(kind, sendable, found)

    def search(self, query: SourceQuery) -> list[Facts]:
        parameters = {self.words: query.text, self.size: str(min(self.rates.page, query.limit))}
        since, until, with_abstract = self.conditions
        days = ((since, query.since), (until, query.until))
        conditions = [f"{name}:{day.isoformat()}" for name, day in days if day]
        conditions += [f"{with_abstract}:true"] * query.with_abstract
        if conditions:
            parameters["filter"] = ",".join(conditions)
        found: list[Facts] = []
        cursor = "*"
        while cursor and len(found) < query.limit:
            papers, following = self.page({**parameters, "cursor": cursor})
            found += papers
            cursor = following if papers else ""
        return query.chosen(found)


def by_value(kind: str, values: Iterable[str], found: Iterable[Facts]) -> dict[str, Facts]:
    """Return a mapping of the requested identifiers to the papers that were found.

    Args:
        kind: the kind of the identifiers.
        values: the requested identifiers.
        found: the papers in a response. If several papers have the same identifier, the first paper
            is returned.
    """
    wanted = set(values)
    known = ((one.identifiers.get(kind, ""), one) for one in reversed(list(found)))
    return {value: one for value, one in known if value in wanted}


def count(found: Any) -> int | None:
    """Return `found` if it is a number of citations (an integer of at least 0), or else None."""
    is_count = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    return found if is_count else None
