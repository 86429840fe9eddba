"""A client of Zotero's web API, version 3, for the items of a library.

`Library` sends requests to zotero.org, or to the server in ZOTERO_API_URL, with the key in
ZOTERO_API_KEY. The key is sent in a header, and does not occur in messages, records or logs.

`LocalLibrary` sends requests to the Zotero that runs on this computer, version 10 or newer. Its API
is the web API, but needs no account and has no rate limit. Before Zotero issues a key for writing,
it asks the user for permission; the key is valid for one request or until the command ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlparse

import httpx

from harness._version import __version__
from harness.errors import NotAllowed, SkillFailed, UsageError
from harness.support.bounded_http import (
    IDENTITY,
    Meter,
    limit_response,
    other_host,
    retry_after,
)
from harness.support.calls import Overdue, within
from harness.support.stop_token import StopToken
from skills.nanda.text import flatten

URL = "https://api.zotero.org"
KEY_VARIABLE, URL_VARIABLE = "ZOTERO_API_KEY", "ZOTERO_API_URL"
KEYS_PAGE = "https://www.zotero.org/settings/keys"
LOCAL_URL, LOCAL_URL_VARIABLE = "http://127.0.0.1:23119/api", "ZOTERO_LOCAL_URL"
PROGRAM = "nanda-harness"
BATCH = 50
"""Maximum number of items that a request can read by key, write or delete."""
PAGE = 100
TRIES = 5
TIMEOUT, TIME_TO_ANSWER = 60.0, 300.0
"""Timeouts in seconds: for a response of the server, and for the user's answer to Zotero."""
LONGEST_WAIT = 300.0
"""Maximum seconds that the server may ask the client to wait."""
LONGEST = 300.0
"""Maximum seconds of a whole request."""
LONGEST_ANSWER = 16_000_000
"""Maximum size of a response in bytes."""
SILENT, CONFLICT = "the server does not state whether it was written", "412"
"""Reasons why `write` may not have written an item; a conflict's reason begins with "412"."""
_SERVER = "Zotero-Server-ID"

T = TypeVar("T")
Data = dict[str, Any]


class Conflict(Exception):
    """Raised if the library has changed since it was read."""


class Library:
    """A library on a Zotero server, as a context manager.

    Args:
        name: the name of the library, such as "users/475425" or "groups/77".
        stop: a token that interrupts requests.

    Attributes:
        version: the version of the library according to the last response.
        user: the name of the user who owns the key; "" before `check_access`.
    """

    uses_proxy = True

    def __init__(self, name: str, stop: StopToken) -> None:
        self.name = name
        self.url = self._address()
        self.version = 0
        self.user = ""
        self._stop = stop
        self._next_request = 0.0
        self._client = httpx.Client(
            headers={
                "User-Agent": f"{PROGRAM}/{__version__}",
                "Zotero-API-Version": "3",
                **IDENTITY,
            },
            follow_redirects=True,
            timeout=TIMEOUT,
            trust_env=self.uses_proxy,
            event_hooks={"response": [self._limit]},
        )
        if key := self._key():
            self._client.headers["Authorization"] = f"Bearer {key}"

    def __enter__(self) -> Library:
        try:
            self._connect()
        except BaseException:
            self._client.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    @property
    def server(self) -> str:
        """The identity of the server; item keys and versions are valid only at this server."""
        return self.url

    def check_access(self, *, write: bool) -> None:
        """Check that the key may read the library, and may change the library if `write` is True.

        The name of the user is stored in `user`.

        Raises:
            UsageError: the key lacks the permission, or belongs to another user.
        """
        reply = _object(self._json("GET", "/keys/current"))
        access = _object(reply.get("access"))
        self.user = str(reply.get("username") or "")
        kind, number = self.name.split("/")
        if kind == "users":
            if str(reply.get("userID")) != number:
                raise UsageError(
                    f"the key in {KEY_VARIABLE} does not belong to the owner of the library "
                    f"{self.name}",
                    hint=f"Create a key at {KEYS_PAGE}, signed in as the owner of the library.",
                )
            rights = _object(access.get("user"))
        else:
            groups = _object(access.get("groups"))
            rights = _object(groups.get(number) or groups.get("all"))
        # A key that cannot read notes would make the harness write existing notes again.
        reads = rights.get("library") and rights.get("notes", True)
        if not reads or (write and not rights.get("write")):
            raise self._forbidden()

    def own_notes(self, tag: str) -> list[Data]:
        """Return all notes with this tag, including notes in the trash."""
        return self._all("items", itemType="note", tag=tag, includeTrashed=1)

    def children(self, keys: Iterable[str], kind: str) -> list[Data]:
        """Return the children of items, without children in the trash.

        Args:
            keys: the keys of the parent items.
            kind: the type of the children, such as "attachment".
        """
        wanted = set(keys)
        if len(wanted) > BATCH:
            found = self._all("items", itemType=kind)
        else:
            paths = [f"items/{key}/children" for key in sorted(self.items(wanted))]
            found = [one for path in paths for one in self._all(path, itemType=kind)]
        return [one for one in found if one["data"].get("parentItem") in wanted]

    def items(self, keys: Iterable[str], *, trashed: bool = False) -> dict[str, Data]:
        """Return the existing items with these keys, by key.

        Args:
            trashed: True to include items in the trash.
        """
        found: dict[str, Data] = {}
        for batch in batches(sorted(set(keys))):
            options: Data = {"includeTrashed": 1} if trashed else {}
            page = self._items(itemKey=",".join(batch), limit=PAGE, **options)
            found |= {str(one["key"]): one for one in page}
        return found

    def write(self, items: Sequence[Data]) -> dict[str, str]:
        """Create or change at most `BATCH` items, and return the reason of each failure, by key.

        Raises:
            SkillFailed: the server cannot be reached, or refuses the request; some of the items may
                have been written.
        """
        keys = [str(item["key"]) for item in items]
        try:
            reply = _object(self._json("POST", f"/{self._path()}/items", json=list(items)))
        except Conflict:
            return dict.fromkeys(keys, CONFLICT)
        done = {*_by_key(reply, "success", keys), *_by_key(reply, "unchanged", keys)}
        failed = dict.fromkeys((key for key in keys if key not in done), SILENT)
        for key, found in _by_key(reply, "failed", keys).items():
            why = _object(found)
            failed[key] = flatten(f"{why.get('code', '')} {why.get('message', '')}")
        return failed

    def delete(self, keys: Sequence[str], version: int) -> None:
        """Delete at most `BATCH` items.

        Args:
            version: the version of the library when the items were read.

        Raises:
            Conflict: the library has changed since that version.
            SkillFailed: the server cannot be reached, or refuses the request.
        """
        self._json(
            "DELETE",
            f"/{self._path()}/items",
            params={"itemKey": ",".join(keys)},
            headers={"If-Unmodified-Since-Version": str(version)},
        )

    def _all(self, path: str, **parameters: Any) -> list[Data]:
        """Return the items on all pages of a listing."""
        found: list[Data] = []
        while True:
            order: Data = {"sort": "dateAdded", "direction": "asc", "start": len(found)}
            page = self._items(path, limit=PAGE, **parameters, **order)
            found += page
            if len(page) < PAGE:
                return found

    def _items(self, path: str = "items", **parameters: Any) -> list[Data]:
        found = self._json("GET", f"/{self._path()}/{path}", params=parameters)
        if not isinstance(found, list) or not all(
            isinstance(one, dict) and isinstance(one.get("data"), dict) and "key" in one
            for one in found
        ):
            raise self._failed("its reply is not a list of items")
        return found

    def _json(self, method: str, path: str, **content: Any) -> Any:
        """Send a request, and return the parsed JSON, or None for a response without content.

        Raises:
            Conflict: the library has changed.
            SkillFailed, UsageError: the request failed; the message does not contain the key.
        """
        response = self._request(method, path, **content)
        status = response.status_code
        if status in (401, 403):
            raise self._forbidden()
        if status == 412:
            raise Conflict
        if not response.is_success:
            reasons = {
                404: f"it has no library {self.name}",
                409: f"the library {self.name} is locked; repeat the line in a minute",
            }
            raise self._failed(reasons.get(status, f"it responds with HTTP status {status}"))
        self.version = int(response.headers.get("last-modified-version") or 0)
        try:
            return response.json() if response.content else None
        except ValueError as exc:
            raise self._failed("its reply cannot be read") from exc

    def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send a request, repeat it while the server is busy, and return the response.

        Raises:
            SkillFailed: the server cannot be reached, or is busy after `TRIES` requests.
        """
        for attempt in range(TRIES):
            self._stop.check()
            self._wait()
            try:
                send = partial(self._client.request, method, self.url + path, **content)
                response = within(LONGEST, send, "request")
            except Overdue as exc:
                raise self._failed(f"no complete reply within {LONGEST:.0f} s") from exc
            except httpx.HTTPError as exc:
                reason = type(exc).__name__
                raise self._failed(f"it cannot be reached ({reason})") from exc
            busy = response.status_code in (429, 503)
            stated = response.headers.get("backoff") or response.headers.get("retry-after")
            seconds = retry_after(stated)
            if seconds is not None or busy:
                pause = 2.0**attempt if seconds is None else seconds
                self._next_request = time.monotonic() + pause
            if not busy and not (response.status_code == 401 and self._authorize()):
                return response
        raise self._failed(f"it was busy {TRIES} times")

    def _limit(self, response: httpx.Response) -> None:
        if other := other_host(response):
            raise self._failed(f"it redirects to {other}, to which nothing was sent")
        limit_response(response, Meter("Zotero's server", LONGEST_ANSWER))

    def _wait(self) -> None:
        """Wait until the server allows the next request.

        Raises:
            SkillFailed: the server asks to wait longer than `LONGEST_WAIT`.
            Interrupted: the wait was interrupted.
        """
        seconds = self._next_request - time.monotonic()
        if seconds > LONGEST_WAIT:
            raise SkillFailed(
                f"Zotero's server allows no request for {seconds:,.0f} s",
                hint="Repeat the line later: finished notes are kept.",
            )
        if seconds > 0:
            self._stop.wait(seconds)
            self._stop.check()

    def _connect(self) -> None:
        """Do nothing: the first request opens the connection."""

    def _address(self) -> str:
        url = (os.environ.get(URL_VARIABLE) or URL).rstrip("/")
        parts = urlparse(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise UsageError(
                f"{URL_VARIABLE} is not an https address, so that the key would be sent "
                "unencrypted",
                where=url,
                hint=f"Use an https address, or unset the variable to use {URL}.",
            )
        return url

    def _path(self) -> str:
        """Return the path of the library in URLs."""
        return self.name

    def _key(self) -> str:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not key or not key.isascii() or not key.isalnum():
            raise UsageError(
                f"{KEY_VARIABLE} does not contain a key for Zotero's API",
                hint=f"Create a key with write access at {KEYS_PAGE}, and export the variable in "
                "the shell.",
            )
        return key

    def _authorize(self) -> bool:
        """Return True if a request that was refused can be repeated with a new key."""
        return False

    def _failed(self, reason: str) -> SkillFailed:
        return SkillFailed(
            f"Zotero's server: {reason}",
            where=self.url,
            hint="Repeat the line: notes that have been written are not written again.",
        )

    def _forbidden(self) -> UsageError:
        return UsageError(
            f"the key in {KEY_VARIABLE} is invalid, or has no access to the library {self.name}",
            hint="Allow the key to read notes and to write, or create another key, at "
            f"{KEYS_PAGE}.",
        )


class LocalLibrary(Library):
    """A library of the Zotero that runs on this computer."""

    uses_proxy = False

    def _connect(self) -> None:
        """Check that Zotero runs and accepts notes, and store its identity.

        Raises:
            SkillFailed: Zotero does not run.
            UsageError: Zotero is too old, or is not allowed to answer other programs.
        """
        try:
            reply = self._request("GET", "/")
        except SkillFailed as exc:
            raise SkillFailed(
                "no Zotero answers on this computer",
                where=self.url,
                hint="Start Zotero. Without `--local`, notes are written through zotero.org.",
            ) from exc
        if reply.status_code == 403:
            raise UsageError(
                "Zotero does not answer other programs",
                hint="Allow other programs in Zotero: Settings > Advanced > Allow other "
                "applications.",
            )
        if not (identity := reply.headers.get(_SERVER)):
            raise UsageError(
                "the Zotero that runs here is older than version 10 and accepts no notes",
                hint="Without `--local`, notes are written through zotero.org.",
            )
        self._client.headers[_SERVER] = identity

    @property
    def server(self) -> str:
        return f"{self.url} {self._client.headers.get(_SERVER, '')}"

    def check_access(self, *, write: bool) -> None:
        """Do nothing: Zotero itself asks the user before it accepts notes."""

    def _address(self) -> str:
        return (os.environ.get(LOCAL_URL_VARIABLE) or LOCAL_URL).rstrip("/")

    def _path(self) -> str:
        return "users/0" if self.name.startswith("users/") else self.name

    def _key(self) -> str:
        return ""

    def _authorize(self) -> bool:
        """Request a key from Zotero, and return True.

        Raises:
            NotAllowed: the user refuses in Zotero.
            SkillFailed: Zotero does not reply within `TIME_TO_ANSWER`, or the reply cannot be read.
        """
        url, asked = f"{self.url}/local/authorize", {"appName": PROGRAM}
        try:
            reply = self._client.post(url, json=asked, timeout=TIME_TO_ANSWER)
            key = reply.json().get("key") if reply.status_code == 200 else None
        except (httpx.HTTPError, ValueError) as exc:
            raise self._failed(f"it did not state whether access is allowed ({exc})") from exc
        if not key:
            raise NotAllowed("you did not allow it in Zotero, and nothing was changed there")
        self._client.headers["Zotero-API-Key"] = key
        return True


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items in batches of at most `BATCH` items."""
    for begin in range(0, len(items), BATCH):
        yield items[begin : begin + BATCH]


def _by_key(reply: Mapping[str, Any], part: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return the values of `part` in the response to a write, by item key instead of index.

    Args:
        part: "success", "unchanged" or "failed".
        keys: the keys of the items in the order in which they were sent.
    """
    found = _object(reply.get(part)).items()
    return {keys[int(n)]: value for n, value in found if n.isdecimal() and int(n) < len(keys)}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
