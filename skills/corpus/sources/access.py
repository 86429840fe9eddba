"""Send requests to a source of papers: cached for a day, at its rate, with retries.

Importing this module imports requests; import it where a request is made.
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
from harness.support.bounded_http import Meter, has_too_many_values
from harness.support.calls import Overdue, Raised, retry_after, within
from skills.corpus.records import Found
from skills.corpus.sources.services import SERVICES, Query, Rates
from skills.nanda.text import flatten

USER_AGENT = f"nanda-harness/{__version__}"
DAY = 86_400
"""Seconds for which an answer is cached."""
TIMEOUT = 20.0
"""Timeout in seconds for a connection, and for each part of a response."""
RETRIES = 3
"""Number of repetitions of a failed request. The pauses before them are 1, 2 and 4 times the delay,
and at least a second if there is a delay.
"""
LONGEST_WAIT = 60.0
"""Maximum pause in seconds; a request fails if the source requires a longer pause."""
PATIENCE = 600.0
"""Maximum number of seconds to wait for the requests of other processes."""

LONGEST_ANSWER = 16_000_000
"""Maximum size of an uncompressed answer in bytes."""
LONGEST = 600.0
"""Maximum seconds of a request with its repetitions and pauses, whatever pieces arrive."""
MOST_VALUES = 1_000_000
"""Maximum number of values in an answer in JSON."""
CHUNK = 1 << 16

_BUSY = (429, 500, 502, 503, 504)
_REFUSED = (401, 403)


@dataclass
class Source(ABC):
    """A source of papers, and the access to it.

    Attributes:
        name: the name of the source in options and environment variables.
        kinds: kinds of identifiers by which the source finds papers, the best first.
        states: facts that the source states about a paper, by the names of `Found`.
        url: the address of the source.
        folder: the folder of the cached answers and the time of the last request of every process.
        notice: called with a line for each pause.
        delay: seconds between two requests.
        wait: sleeps for a number of seconds.
        key: the user's key or address, which is added to a request when it is sent, so that it
            never is in a cache, a message or a log.
        key_hint: hint for the error if the source refuses the key, or the lack of a key.
        sent: number of requests that the cache did not answer.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    states: ClassVar[frozenset[str]]
    rates: ClassVar[Rates]
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
    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Found]:
        """Return the papers with these identifiers of one kind, up to `rates.batch`.

        Papers that the source does not know are missing from the result.

        Raises:
            SkillFailed: the source refuses the request, or its response cannot be used.
            SourceUnavailable: the source serves no requests now.
            OutputError: the cache cannot be used.
        """

    @abstractmethod
    def search(self, query: Query) -> list[Found]:
        """Return the papers that a query finds, best first.

        Raises:
            SkillFailed, SourceUnavailable, OutputError: as for `by_ids`.
        """

    @abstractmethod
    def check_content(self, response: requests.Response) -> None:
        """Check the content of a response of status 200 before it is cached.

        Raises:
            SkillFailed: the response is not a complete answer.
        """

    def parsed_xml(self, response: requests.Response) -> Any:
        """Return the root of a response in XML; entities are not expanded.

        Raises:
            SkillFailed: the response is incomplete.
        """
        from lxml import etree  # type: ignore[import-untyped]

        try:
            parser = etree.XMLParser(resolve_entities=False, no_network=True)
            return etree.fromstring(response.content, parser)
        except etree.XMLSyntaxError as exc:
            raise self.failed("the response is damaged or cut off") from exc

    @property
    def title(self) -> str:
        """The name of the source for messages."""
        return SERVICES[self.name].title

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers with the key."""
        return {}

    @property
    def form(self) -> dict[str, str]:
        """The fields with the key, which are added to the body of a POST."""
        return {}

    def found(self, identifiers: Mapping[str, str], **stated: Any) -> Found:
        """Return the facts that the source states about a paper."""
        return Found(self.name, {kind: one for kind, one in identifiers.items() if one}, **stated)

    def request(self, method: str, path: str = "", **content: Any) -> requests.Response:
        """Return the response to a request; `content` are parameters of the package requests.

        Raises:
            SkillFailed: the source refuses the request, or its response is not an answer.
            SourceUnavailable: the source cannot be reached, or serves no requests now.
            OutputError: the cache cannot be used.
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
                hint="Delete the folder, or name another cache with HARNESS_CACHE.",
            ) from exc

    def failed(self, reason: str) -> SkillFailed:
        """Return the error for a request without a usable response."""
        return SkillFailed(f"{self.title} request failed: {reason}", where=self.url, hint=self.hint)

    def unavailable(self, reason: str, hint: str = "") -> SourceUnavailable:
        """Return the error for a source that serves no requests now."""
        return SourceUnavailable(
            f"{self.title} request failed: {reason}", where=self.url, hint=hint or self.hint
        )

    def check(self, response: requests.Response) -> None:
        """Check a response before it is cached.

        Raises:
            SkillFailed: the request is refused, or the response is not a complete answer.
            SourceUnavailable: the source is busy or unavailable, or refuses the key.
        """
        status = response.status_code
        reason = f"HTTP {status} {response.reason}"
        if status in _REFUSED and self.key_hint:
            raise self.unavailable(reason, self.key_hint)
        if status in _BUSY:
            raise self.unavailable(reason, self.key_hint if status == 429 else "")
        if response.is_redirect:  # not followed
            reason += f", a redirect to {response.headers['location']}"
        if status != 200:
            raise self.failed(reason)
        self.check_content(response)

    def lasts(self, response: Any) -> bool:
        """Return True if a response of status 200 can be cached."""
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
        """Wait for the right to send a request: alone among all processes, `delay` after the last.

        Raises:
            SourceUnavailable: other processes send requests all the time.
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
        """Return a request with the user's key; redirects are not followed."""
        made = request.copy()
        made.headers.update(self.headers)
        if self.form and isinstance(made.body, (str, bytes)):
            body = made.body if isinstance(made.body, str) else made.body.decode()
            made.body = f"{body}&{urlencode(self.form)}"
            made.headers["Content-Length"] = str(len(made.body.encode()))
        return made


class _Adapter(HTTPAdapter):
    """Sends the requests that the cache cannot serve."""

    def __init__(self, source: Source) -> None:
        super().__init__(max_retries=_Retry.of(source))
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
            except Raised as exc:
                raise exc.__cause__ or exc from None
        response.request = request  # the request is cached with the response
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
            reason = getattr(exc.args[0], "reason", exc.args[0])
            raise source.unavailable(_words(reason, source)) from exc


class _Retry(Retry):
    """The retries of urllib3, with a notice before each pause."""

    source: Source

    @classmethod
    def of(cls, source: Source) -> _Retry:
        # A POST is also repeated, since it only reads.
        retry = cls(
            RETRIES, connect=0, status_forcelist=_BUSY, raise_on_status=False, allowed_methods=None
        )
        retry.source = source
        return retry

    def new(self, **changes: Any) -> _Retry:
        retry = super().new(**changes)
        retry.source = self.source
        return retry

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        source = self.source
        first = max(source.delay, min(1.0, source.delay * 10))
        pause, reason = first * 2 ** (len(self.history) - 1), "the connection failed"
        if response is not None:
            reason = f"HTTP {response.status} {response.reason}"
            pause = max(pause, retry_after(response.headers.get("retry-after")) or 0.0)
        if pause > LONGEST_WAIT:
            raise source.unavailable(
                f"{reason}; {source.title} requires a pause of {pause:.0f} s",
                "Repeat the line after it: finished work is kept.",
            )
        source.notice(f"{source.title} request failed: {reason}; next attempt in {pause:.0f} s")
        source.wait(pause)


def _words(reason: object, source: Source) -> str:
    if isinstance(reason, ReadTimeoutError):
        return f"no response within {source.timeout:g} s"
    if isinstance(reason, ProtocolError):
        return "the connection was closed before the response was complete"
    return f"{source.title} cannot be reached ({type(reason).__name__})"


class JsonSource(Source):
    """A source that answers in JSON; only a valid answer is cached."""

    @abstractmethod
    def is_answer(self, found: Any) -> bool:
        """Return True if a JSON value has the form of an answer."""

    def check_content(self, response: requests.Response) -> None:
        self.read(response)

    def read(self, response: requests.Response) -> Any:
        """Return the JSON of a response.

        Raises:
            SkillFailed: the response is not JSON, is cut off, or is not an answer.
        """
        if has_too_many_values(response.content, MOST_VALUES):
            raise self.failed(f"the response has more than {MOST_VALUES:,} values")
        try:
            found = response.json()
        except (ValueError, RecursionError) as exc:
            raise self.failed("the response is not JSON, or cut off") from exc
        if not self.is_answer(found):
            raise self.failed("the response is not an answer of its API")
        return found

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Return the answer to a GET request.

        Raises:
            SkillFailed, SourceUnavailable, OutputError: as for `request` and `read`.
        """
        return self.read(self.request("GET", path, params=parameters))


class CursorSource(JsonSource):
    """A source whose searches return pages, each with a cursor that requests the next page."""

    @abstractmethod
    def page(self, parameters: Mapping[str, str]) -> tuple[list[Found], str]:
        """Return the papers of a page, and the cursor of the next page."""

    def pages(self, query: Query, parameters: Mapping[str, str]) -> list[Found]:
        """Return the papers that a search finds on its pages."""
        found: list[Found] = []
        cursor = "*"
        while cursor and len(found) < query.limit:
            papers, following = self.page({**parameters, "cursor": cursor})
            found += papers
            cursor = following if papers else ""
        return query.chosen(found)


def conditions(query: Query, since: str, until: str, with_abstract: str) -> dict[str, str]:
    """Return the parameter "filter" of a search.

    Args:
        since, until, with_abstract: the names of these conditions at the source.
    """
    dates = ((since, query.since), (until, query.until))
    found = [f"{name}:{day.isoformat()}" for name, day in dates if day]
    found += [f"{with_abstract}:true"] * query.with_abstract
    return {"filter": ",".join(found)} if found else {}


def by_value(kind: str, values: Iterable[str], found: Iterable[Found]) -> dict[str, Found]:
    """Return the found papers by the values of their identifiers, only for requested values."""
    wanted = set(values)
    known = ((one.identifiers.get(kind, ""), one) for one in reversed(list(found)))
    return {value: one for value, one in known if value in wanted}


def text(found: Any, *names: str) -> str:
    """Return the text or number under these nested names on one line, or ""."""
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    known = isinstance(found, (str, int)) and not isinstance(found, bool)
    return flatten(str(found)) if known else ""


def objects(found: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON objects in a list."""
    if isinstance(found, list):
        yield from (one for one in found if isinstance(one, Mapping))


def count(found: Any) -> int | None:
    """Return a number of citations, or None for another value."""
    is_count = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    return found if is_count else None
