"""One page of arXiv at a time: from the cache, or asked for with patience where arXiv is busy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import SkillFailed
from skills.annotate.arxiv.cache import PageCache, turn

if TYPE_CHECKING:
    import requests
    from tenacity import RetryCallState

ATTEMPTS = 4
"""Requests for one page at most; the pauses between them are 1, 2 and 4 times the delay."""
LONGEST_WAIT = 60.0
"""Seconds; who is told to wait longer is told so instead."""

_PASSING = frozenset({429, 500, 502, 503, 504})
"""What arXiv answers when it is busy."""
_ATOM = "{http://www.w3.org/2005/Atom}"
_TOTAL = "{http://a9.com/-/spec/opensearch/1.1/}totalResults"


@dataclass(frozen=True, slots=True)
class Access:
    """How arXiv is reached.

    Attributes:
        folder: where pages and the time of the last request are kept.
        url: the query address, instead of the package's own.
        delay: seconds between two requests, of all processes that share `folder`.
        wait: sleeps for some seconds; must let Ctrl-C through.
        notice: told why it takes long.
        hint: what to do when arXiv does not help.
    """

    folder: Path
    url: str | None
    timeout: float
    delay: float
    wait: Callable[[float], None]
    notice: Callable[[str], None]
    hint: str

    def failed(self, what: str, url: str | None = None) -> SkillFailed:
        """The error for an answer that is of no use."""
        return SkillFailed(f"arXiv did not help: {what}", where=url or self.url, hint=self.hint)

    def unreachable(self, why: str) -> SkillFailed:
        """The error for no connection."""
        return SkillFailed(f"arXiv cannot be reached ({why})", where=self.url, hint=self.hint)


class _MayPass(Exception):
    """A failure that another request may not meet, and the seconds the server asks for."""

    def __init__(self, failure: SkillFailed, pause: float = 0.0) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.pause = pause


@dataclass(slots=True)
class Pages:
    """Gets pages for a session: from the cache, or from arXiv with all due patience."""

    access: Access
    cache: PageCache
    entries: int = 0

    def get(self, url: str, send: Callable[[], requests.Response]) -> requests.Response | bytes:
        """The response to a request, or the body that was kept of an earlier one.

        Raises:
            SkillFailed: no use asking on.
        """
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

        if (page := self._kept(url)) is not None:
            return page
        retrying = Retrying(
            sleep=self.access.wait,
            stop=stop_after_attempt(ATTEMPTS),
            wait=self._pause,
            retry=retry_if_exception_type(_MayPass),
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            return retrying(self._ask, url, send)
        except _MayPass as exc:
            raise exc.failure from exc

    def _kept(self, url: str) -> bytes | None:
        page = self.cache.read(url)
        try:
            entries, _ = _count(page, url, self.access) if page else (0, 0)
        except SkillFailed:  # a damaged file is none
            return None
        self.entries += entries
        return page if entries else None

    def _ask(self, url: str, send: Callable[[], requests.Response]) -> requests.Response:
        import requests
        from urllib3.exceptions import ProtocolError

        access = self.access
        with turn(access.folder, access.delay, access.wait):
            try:
                response = send()
                page = response.content
            except requests.Timeout as exc:
                raise access.failed(f"no answer within {access.timeout:g} s") from exc
            except requests.exceptions.ChunkedEncodingError as exc:
                raise _MayPass(access.failed("its answer was cut off")) from exc
            except requests.ConnectionError as exc:
                if exc.args and isinstance(exc.args[0], ProtocolError):
                    raise _MayPass(access.failed("it broke the connection off")) from exc
                raise access.unreachable(type(exc).__name__) from exc
        if response.status_code in _PASSING:
            raise self._busy(response)
        if response.status_code == 200:
            self._take(url, page)
        return response

    def _take(self, url: str, page: bytes) -> None:
        entries, total = _count(page, url, self.access)
        if total and not entries:
            raise _MayPass(
                self.access.failed(f"it has {total:,} papers, but its page holds none of them", url)
            )
        self.entries += entries
        # An empty page is not kept: arXiv also sends one when it means something else.
        if entries and b"/api/errors" not in page:
            self.cache.keep(url, page)

    def _busy(self, response: requests.Response) -> _MayPass | SkillFailed:
        status = response.status_code
        what = "it has had too many requests" if status == 429 else "it is busy"
        pause = _seconds(response.headers.get("Retry-After", ""))
        if pause > LONGEST_WAIT:
            return self.access.failed(
                f"{what} (HTTP {status}), and asks for a pause of {pause:.0f} s"
            )
        return _MayPass(self.access.failed(f"{what} (HTTP {status})"), pause)

    def _pause(self, state: RetryCallState) -> float:
        """Seconds before the next request: what the server asks for, or twice the last pause."""
        from tenacity import wait_exponential

        failure = state.outcome.exception() if state.outcome else None
        asked = failure.pause if isinstance(failure, _MayPass) else 0.0
        return max(asked, wait_exponential(multiplier=self.access.delay, max=LONGEST_WAIT)(state))

    def _tell(self, state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self.access.notice(f"{failure}; asking again in {pause:.0f} s")


def _count(page: bytes, url: str, access: Access) -> tuple[int, int]:
    """The entries of a page, and how many papers it says there are.

    Raises:
        SkillFailed: it is no whole Atom feed.
    """
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(page, parser=parser)
    except etree.XMLSyntaxError as exc:
        raise access.failed("its answer is damaged or cut off", url) from exc
    if root.tag != f"{_ATOM}feed":
        raise access.failed("its answer is no list of papers", url)
    total = (root.findtext(_TOTAL) or "").strip()
    return len(root.findall(f"{_ATOM}entry")), int(total) if total.isdecimal() else 0


def _seconds(retry_after: str) -> float:
    """The seconds of a Retry-After header: a number, or a date (RFC 9110, section 10.2.3)."""
    text = retry_after.strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
