"""Requests to a source of papers: cached for a day, at its rate, repeated while it is busy.

Importing this module imports requests; import it where a request is made.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import InvalidHeader, ProtocolError, ReadTimeoutError
from urllib3.util import Retry

from harness._version import __version__
from harness.errors import OutputError, SkillFailed, SourceUnavailable
from skills.nanda.text import flatten

USER_AGENT = f"nanda-harness/{__version__}"
DAY = 86_400
"""Seconds an answer is cached."""
TIMEOUT = 20.0
"""Seconds to wait for a connection, and for each part of a response."""
RETRIES = 3
"""Repetitions of a failed request; the pauses before them are 1, 2 and 4 times the delay, and a
second at least where there is one."""
LONGEST_WAIT = 60.0
"""Seconds; a request fails where the source requires a longer pause."""
PATIENCE = 600.0
"""Seconds to wait for the requests of other processes."""
HINT = "Try again in a minute: answers that have come are cached, and what is done is kept."

_BUSY = (429, 500, 502, 503, 504)
_REFUSED = (401, 403)


@dataclass(slots=True)
class Access:
    """Access to one source of papers.

    Attributes:
        name: of the source, for messages.
        url: its address.
        folder: the cached answers, and the time of the last request of any process.
        notice: receives one line for each delay.
        delay: seconds between two requests.
        wait: sleeps for some seconds.
        headers, form: keys and addresses of the user, which are added to a request when it is sent:
            they are in no cache, message or log. `form` is added to the body of a POST.
        key_hint: what to do if the source refuses the key, or the lack of one.
        sent: the number of requests that the cache did not answer.
    """

    name: str
    url: str
    folder: Path
    notice: Callable[[str], None] = lambda _: None
    timeout: float = TIMEOUT
    delay: float = 1.0
    wait: Callable[[float], None] = time.sleep
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    hint: str = HINT
    key_hint: str = ""
    sent: int = 0

    def request(self, method: str, path: str = "", **content: Any) -> requests.Response:
        """Return the response to a request; `content` is that of requests.

        Raises:
            SkillFailed, OutputError: see `session`; it cannot be used (`check`).
        """
        with self.session() as session:
            return session.request(method, self.url + path, **content)

    @contextlib.contextmanager
    def session(self) -> Iterator[CachedSession]:
        """Open a session whose requests are cached, delayed and repeated.

        Raises:
            SkillFailed: the source refuses, or sends something else than what was requested.
            SourceUnavailable: it cannot be reached, or serves no request now.
            OutputError: the cache cannot be used.
        """
        try:
            with self._cached() as session:
                yield session
        except requests.RequestException as exc:
            raise self.failed(type(exc).__name__) from exc
        except (OSError, sqlite3.Error) as exc:
            raise OutputError(
                f"the cache of {self.name} pages cannot be used: {exc}",
                where=str(self.folder),
                hint="Delete the folder, or name another cache with HARNESS_CACHE.",
            ) from exc

    def failed(self, reason: str) -> SkillFailed:
        """Return the error for a request without a usable response."""
        return SkillFailed(f"{self.name} request failed: {reason}", where=self.url, hint=self.hint)

    def unavailable(self, reason: str, hint: str = "") -> SourceUnavailable:
        """Return the error for a source that serves no request now."""
        return SourceUnavailable(
            f"{self.name} request failed: {reason}", where=self.url, hint=hint or self.hint
        )

    def check(self, response: requests.Response) -> None:
        """Check the status of a response before it is cached.

        Raises:
            SkillFailed: the request is refused.
            SourceUnavailable: the source is busy or gone, or refuses the key.
        """
        status = response.status_code
        reason = f"HTTP {status} {response.reason}"
        if status in _REFUSED and self.key_hint:
            raise self.unavailable(reason, self.key_hint)
        if status in _BUSY:
            raise self.unavailable(reason, self.key_hint if status == 429 else "")
        if status != 200:
            raise self.failed(reason)

    def lasts(self, response: Any) -> bool:
        """Return True if a response of status 200 can be cached."""
        return True

    def _cached(self) -> CachedSession:
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
        """Make one request inside: alone among all processes, `delay` after the last one.

        Raises:
            SourceUnavailable: other processes make requests all the time.
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
        """Return a request with what only the source may see; redirects are not followed."""
        made = request.copy()
        made.headers.update(self.headers)
        if self.form and isinstance(made.body, (str, bytes)):
            body = made.body if isinstance(made.body, str) else made.body.decode()
            made.body = f"{body}&{urlencode(self.form)}"
            made.headers["Content-Length"] = str(len(made.body.encode()))
        return made


class _Adapter(HTTPAdapter):
    """Sends the requests that the cache cannot serve."""

    def __init__(self, access: Access) -> None:
        super().__init__(max_retries=_Retry.of(access))
        self.access = access

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        access = self.access
        request.headers["User-Agent"] = USER_AGENT
        with access.turn():
            access.sent += 1
            sent = access.signed(request)
            try:
                response = super().send(sent, **{**options, "timeout": access.timeout})
                response.content  # noqa: B018 (reads the body within this turn)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as exc:
                reason = getattr(exc.args[0], "reason", exc.args[0])
                raise access.unavailable(_words(reason, access)) from exc
        response.request = request  # it is cached with the response
        access.check(response)
        return response


class _Retry(Retry):
    """urllib3's retries, with a notice before each pause."""

    access: Access

    @classmethod
    def of(cls, access: Access) -> _Retry:
        # Also a POST, which only reads here.
        retry = cls(
            RETRIES, connect=0, status_forcelist=_BUSY, raise_on_status=False, allowed_methods=None
        )
        retry.access = access
        return retry

    def new(self, **changes: Any) -> _Retry:
        retry = super().new(**changes)
        retry.access = self.access
        return retry

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        access = self.access
        first = max(access.delay, min(1.0, access.delay * 10))
        pause, reason = first * 2 ** (len(self.history) - 1), "the connection failed"
        if response is not None:
            reason = f"HTTP {response.status} {response.reason}"
            with contextlib.suppress(InvalidHeader):
                pause = max(pause, self.get_retry_after(response) or 0.0)
        if pause > LONGEST_WAIT:
            raise access.unavailable(
                f"{reason}; {access.name} requires a pause of {pause:.0f} s",
                "Repeat the line after it: what is done is kept.",
            )
        access.notice(f"{access.name} request failed: {reason}; next attempt in {pause:.0f} s")
        access.wait(pause)


def _words(reason: object, access: Access) -> str:
    if isinstance(reason, ReadTimeoutError):
        return f"no response within {access.timeout:g} s"
    if isinstance(reason, ProtocolError):
        return "the connection was closed before the response was complete"
    return f"{access.name} cannot be reached ({type(reason).__name__})"


class JsonAccess(Access):
    """Access to a source that answers in JSON; only an answer of its form is cached."""

    def is_answer(self, found: Any) -> bool:
        """Return True if JSON has the form of an answer."""
        return isinstance(found, dict)

    def check(self, response: requests.Response) -> None:
        super().check(response)
        self.read(response)

    def read(self, response: requests.Response) -> Any:
        """Return the JSON of a response.

        Raises:
            SkillFailed: it is not JSON, cut off, or not an answer.
        """
        try:
            found = response.json()
        except (ValueError, RecursionError) as exc:
            raise self.failed("the response is not JSON, or cut off") from exc
        if not self.is_answer(found):
            raise self.failed("the response is not an answer of its API")
        return found

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Return the answer to a GET.

        Raises:
            SkillFailed, SourceUnavailable, OutputError: see `request` and `read`.
        """
        return self.read(self.request("GET", path, params=parameters))


def text(found: Any, *names: str) -> str:
    """Return the text or number under these names on one line, "" if there is none."""
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    known = isinstance(found, (str, int)) and not isinstance(found, bool)
    return flatten(str(found)) if known else ""


def objects(found: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list."""
    if isinstance(found, list):
        yield from (one for one in found if isinstance(one, Mapping))


def count(found: Any) -> int | None:
    """Return a number of citations, None if it is none."""
    is_count = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    return found if is_count else None
