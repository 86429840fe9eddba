"""Read and write a library through Zotero's API, with pyzotero.

The API is that of zotero.org, or of another address in ZOTERO_API_URL. The key in ZOTERO_API_KEY is
sent in a header, and is in no message, record or log.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlparse

from pyzotero.zotero import Zotero  # type: ignore[import-untyped]

from harness.errors import NotAllowed, SkillFailed, UsageError
from harness.support.stop_token import StopToken
from skills.nanda.text import flatten

if TYPE_CHECKING:
    import httpx

URL = "https://api.zotero.org"
KEY_VARIABLE, URL_VARIABLE = "ZOTERO_API_KEY", "ZOTERO_API_URL"
KEYS_PAGE = "https://www.zotero.org/settings/keys"
BATCH = 50
"""Items that one request may read by key, write or delete."""
PAGE = 100
TRIES = 5
TIMEOUT = 60.0
SILENT, CONFLICT = "the server does not state what became of it", "412"
"""Reasons for which an item was not written; that for a conflict only begins with it."""

T = TypeVar("T")
Data = dict[str, Any]


class Conflict(Exception):
    """The library has changed since it was read."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the items of one request, by their keys.

    Attributes:
        failed: the reason for each that was not written.
    """

    done: frozenset[str]
    failed: Mapping[str, str]


class Library:
    """A library at the server.

    Args:
        name: "users/475425" or "groups/77".

    Attributes:
        through_proxy: the proxy of the environment is used.
    """

    through_proxy = True

    def __init__(self, name: str, stop: StopToken) -> None:
        import httpx

        self.name = name
        self.url = self._address()
        self._stop = stop
        kind, number = self._path().split("/")
        self._client = WaitingClient(number, kind.removesuffix("s"), self._key(), stop)
        self._client.endpoint = self.url
        self._replies: list[httpx.Response] = []
        self._client.client.close()
        self._client.client = httpx.Client(
            headers=self._client.default_headers(),
            follow_redirects=True,
            timeout=TIMEOUT,
            event_hooks={"response": [self._replies.append]},
            trust_env=self.through_proxy,
        )

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.client.close()

    @property
    def server(self) -> str:
        """What identifies the server, whose versions and keys of notes are its own."""
        return self.url

    def check_access(self, *, write: bool) -> None:
        """Check that the key may read, and with `write` change, this library.

        Raises:
            UsageError: it may not.
        """
        reply = self._ask(self._key_info)
        access = _object(reply.get("access"))
        kind, number = self.name.split("/")
        if kind == "users":
            if str(reply.get("userID")) != number:
                raise UsageError(
                    f"the key in {KEY_VARIABLE} belongs to another user than the library "
                    f"{self.name}",
                    hint=f"Make one at {KEYS_PAGE}, signed in as the owner of the library.",
                )
            rights = _object(access.get("user"))
        else:
            groups = _object(access.get("groups"))
            rights = _object(groups.get(number) or groups.get("all"))
        # Without the right to notes, those that are there would be written again.
        reads = rights.get("library") and rights.get("notes", True)
        if not reads or (write and not rights.get("write")):
            raise self._forbidden()

    def own_notes(self, tag: str) -> list[Data]:
        """Return all notes with a tag, also those in the trash."""
        found: list[Data] = []
        while True:
            order = {"sort": "dateAdded", "direction": "asc", "start": len(found), "limit": PAGE}
            page = self._items(itemType="note", tag=tag, includeTrashed=1, **order)
            found += page
            if len(page) < PAGE:
                return found

    def items(self, keys: Iterable[str], *, trashed: bool = False) -> dict[str, Data]:
        """Return those of these items that exist, by their keys."""
        found: dict[str, Data] = {}
        for batch in batches(sorted(set(keys))):
            options = {"includeTrashed": 1} if trashed else {}
            page = self._items(itemKey=",".join(batch), limit=PAGE, **options)
            found |= {str(one["key"]): one for one in page}
        return found

    @property
    def version(self) -> int:
        """The version of the library in the last reply."""
        return int(self._replies[-1].headers.get("last-modified-version") or 0)

    def write(self, items: Sequence[Data]) -> Written:
        """Create or change up to `BATCH` items; of those that exist, only what is given.

        Raises:
            SkillFailed: the server cannot be reached or refuses all of them; some may be written.
        """
        keys = [str(item["key"]) for item in items]
        try:
            reply = self._ask(lambda: self._client.create_items(list(items)))
        except Conflict:
            return Written(frozenset(), dict.fromkeys(keys, CONFLICT))
        refused = _by_key(reply, "failed", keys)
        done = {*_by_key(reply, "success", keys), *_by_key(reply, "unchanged", keys)}
        failed = dict.fromkeys((key for key in keys if key not in done), SILENT)
        failed |= {
            key: flatten(f"{_object(why).get('code', '')} {_object(why).get('message', '')}")
            for key, why in refused.items()
        }
        return Written(frozenset(done - failed.keys()), failed)

    def delete(self, keys: Sequence[str], version: int) -> None:
        """Delete up to `BATCH` items.

        Args:
            version: that of the library when the items were read.

        Raises:
            Conflict: the library has changed since then.
            SkillFailed: the server cannot be reached or refuses.
        """
        payload = [{"key": key} for key in keys]
        self._ask(lambda: self._client.delete_item(payload, last_modified=version))

    def _items(self, **parameters: Any) -> list[Data]:
        found = self._ask(lambda: self._client.items(**parameters))
        if not isinstance(found, list) or not all(map(_is_item, found)):
            raise self._failed("its reply is not a list of items")
        return found

    def _key_info(self) -> Data:
        client = self._client
        client._check_backoff()
        found = client.client.get(f"{self.url}/keys/current").raise_for_status().json()
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found

    def _ask(self, request: Callable[[], T]) -> T:
        """Return the answer to a request, which is repeated as long as the server is busy.

        Raises:
            Conflict: the library has changed.
            SkillFailed, UsageError: any other failure, without the key.
        """
        import httpx
        from pyzotero.zotero_errors import PyZoteroError  # type: ignore[import-untyped]

        for attempt in range(TRIES):
            self._stop.check()
            self._replies.clear()
            problem: Exception | None = None
            try:
                answer = request()
            except httpx.TransportError as exc:
                raise self._failed(f"it cannot be reached ({type(exc).__name__})") from exc
            except (PyZoteroError, httpx.HTTPError, ValueError) as exc:
                problem = exc
            last = self._replies[-1] if self._replies else None
            if last is not None and last.status_code in (429, 503):  # also without an exception
                self._wait(last.headers, attempt)
                continue
            if last is not None and last.status_code == 401 and self._authorize():
                continue
            if problem is None:
                return answer
            raise self._translated(last.status_code if last is not None else 0) from problem
        raise self._failed(f"it was busy {TRIES} times")

    def _address(self) -> str:
        url = (os.environ.get(URL_VARIABLE) or URL).rstrip("/")
        parts = urlparse(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise UsageError(
                f"{URL_VARIABLE} is not an https address, so the key would be sent unencrypted",
                where=url,
                hint=f"Write an https address, or unset it for {URL}.",
            )
        return url

    def _path(self) -> str:
        """Return the name of the library in addresses."""
        return self.name

    def _key(self) -> str:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not key or not key.isascii() or not key.isalnum():
            raise UsageError(
                f"{KEY_VARIABLE} holds no key for Zotero's API",
                hint=f"Make one that may write at {KEYS_PAGE}, and export it in the shell.",
            )
        return key

    def _authorize(self) -> bool:
        """Return True if a request that was refused without a key is to be repeated with one."""
        return False

    def _wait(self, headers: Mapping[str, str], attempt: int) -> None:
        stated = headers.get("backoff") or headers.get("retry-after") or 2**attempt
        self._client._set_backoff(stated)
        self._client._check_backoff()

    def _translated(self, status: int) -> Exception:
        if status in (401, 403):
            return self._forbidden()
        if status == 412:
            return Conflict()
        reasons = {
            404: f"it has no library {self.name}",
            409: f"the library {self.name} is locked; repeat the line in a minute",
        }
        unreadable = "its reply cannot be read" if status < 400 else f"it answers {status}"
        return self._failed(reasons.get(status, unreadable))

    def _failed(self, reason: str) -> SkillFailed:
        return SkillFailed(
            f"Zotero's server: {reason}",
            where=self.url,
            hint="Repeat the line: notes that are written are recognized.",
        )

    def _forbidden(self) -> UsageError:
        return UsageError(
            f"the key in {KEY_VARIABLE} is invalid, or may not change the library {self.name}",
            hint=f"Allow it to write and to read notes, or make a new one, at {KEYS_PAGE}.",
        )


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items in batches that one request may have."""
    for begin in range(0, len(items), BATCH):
        yield items[begin : begin + BATCH]


def _is_item(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("data"), dict) and "key" in found


def _by_key(reply: Any, part: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return a part of the result of a write, which has the places of items, by their keys."""
    found = _object(_object(reply).get(part)).items()
    return {keys[int(n)]: value for n, value in found if n.isdecimal() and int(n) < len(keys)}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


UNREADABLE_WAIT = 10.0
"""Seconds to wait if the server states a date."""
LONGEST_WAIT = 300.0
"""Seconds that the server may have us wait; if it states more, the command ends."""


class WaitingClient(Zotero):  # type: ignore[misc]
    """A client of one library.

    Args:
        kind: "user" or "group".
    """

    def __init__(self, number: str, kind: str, key: str, stop: StopToken) -> None:
        self._stop = stop
        super().__init__(number, kind, key)

    def _set_backoff(self, duration: Any) -> None:
        seconds = UNREADABLE_WAIT
        with contextlib.suppress(ValueError):
            seconds = float(duration)
        self.backoff = True
        self.backoff_duration = time.monotonic() + seconds

    def _check_backoff(self) -> None:
        if not self.backoff:
            return
        seconds = max(0.0, self.backoff_duration - time.monotonic())
        if seconds > LONGEST_WAIT:
            raise SkillFailed(
                f"Zotero's server allows no request for {seconds:,.0f} seconds",
                hint="Repeat the line later: what is done is kept.",
            )
        self._stop.wait(seconds)
        self._stop.check()
        self._reset_backoff()


LOCAL_URL, LOCAL_URL_VARIABLE = "http://127.0.0.1:23119/api", "ZOTERO_LOCAL_URL"
PROGRAM = "nanda-harness"
SECONDS_TO_ANSWER = 300.0

_SERVER = "Zotero-Server-ID"


class LocalLibrary(Library):
    """A library of the Zotero that runs here."""

    through_proxy = False

    def __enter__(self) -> LocalLibrary:
        """Connect to Zotero.

        Raises:
            SkillFailed: it does not answer.
            UsageError: it accepts no notes.
        """
        client = self._client.client
        try:
            self._ask(lambda: client.get(f"{self.url}/"))
        except SkillFailed as exc:
            raise SkillFailed(
                "no Zotero answers on this computer",
                where=self.url,
                hint="Start Zotero. Without `--local`, notes are written through zotero.org.",
            ) from exc
        reply = self._replies[-1]
        if reply.status_code == 403:
            raise UsageError(
                "Zotero does not answer other programs",
                hint="Allow it in Zotero: Settings > Advanced > Allow other applications.",
            )
        if not (identity := reply.headers.get(_SERVER)):
            raise UsageError(
                "the Zotero that runs here is older than version 10 and accepts no notes",
                hint="Without `--local`, they are written through zotero.org.",
            )
        client.headers[_SERVER] = identity
        return self

    @property
    def server(self) -> str:
        return f"{self.url} {self._client.client.headers.get(_SERVER, '')}"

    def check_access(self, *, write: bool) -> None:
        """Do nothing: Zotero asks when notes are written."""

    def _address(self) -> str:
        return (os.environ.get(LOCAL_URL_VARIABLE) or LOCAL_URL).rstrip("/")

    def _path(self) -> str:
        return "users/0" if self.name.startswith("users/") else self.name

    def _key(self) -> str:
        return ""

    def _authorize(self) -> bool:
        """Ask for a key, which Zotero gives if the person there allows it.

        Raises:
            NotAllowed: they do not.
        """
        client = self._client.client
        asked = {"appName": PROGRAM}
        url, timeout = f"{self.url}/local/authorize", SECONDS_TO_ANSWER
        reply = client.post(url, json=asked, timeout=timeout)
        key = reply.json().get("key") if reply.status_code == 200 else None
        if not key:
            raise NotAllowed("you did not allow it in Zotero, and nothing was changed there")
        client.headers["Zotero-API-Key"] = key
        return True
