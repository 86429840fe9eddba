"""A small Zotero server: the web API, version 3, over a local socket, with its failures.

It follows https://www.zotero.org/support/dev/web_api/v3: versions of items and of the library, keys
that the client chooses, write tokens, and the result of each item of a request. `PROPERTIES` states
which properties an item that is written may have, as in Zotero's data server (model/Item.inc.php,
model/Items.inc.php); other properties and values are refused with 400.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlparse

from local_http import Handler, local_server

KEY = "P9NiFoyLeZu2bZNvvuQPDWsd"
USER = "475425"
_ITEMS = re.compile(r"/((?:users|groups)/\w+)/items/?")
_CHILDREN = re.compile(r"/((?:users|groups)/\w+)/items/(\w{8})/children")
_KEY = re.compile(r"[23456789ABCDEFGHIJKLMNPQRSTUVWXYZ]{8}")

Data = dict[str, Any]

_OF_ALL = {"key": str, "version": int, "itemType": str, "parentItem": str, "tags": list,
           "relations": dict, "dateAdded": str, "dateModified": str, "deleted": int}  # fmt: skip
PROPERTIES: dict[str, dict[str, type]] = {
    "note": {**_OF_ALL, "note": str},
    "annotation": {
        **_OF_ALL,
        "annotationType": str,
        "annotationAuthorName": str,
        "annotationText": str,
        "annotationComment": str,
        "annotationColor": str,
        "annotationPageLabel": str,
        "annotationSortIndex": str,
        "annotationPosition": str,
    },
}
"""The properties of the items that a client writes, with their types."""
PATTERNS = {
    "parentItem": r"[23456789ABCDEFGHIJKLMNPQRSTUVWXYZ]{8}",
    "annotationType": "highlight|underline|note|text|image|ink",
    "annotationColor": "#[0-9a-z]{6}",
    "annotationSortIndex": r"\d{5}\|\d{6}\|\d{5}",
}
LONGEST = {"annotationPageLabel": 50, "annotationPosition": 65_535}
"""Maximum numbers of bytes. A longer annotationText is cut, after 7,500 characters."""


def refusal(one: Data, known: Data, parent: Data) -> str:
    """Return the reason why the server refuses an item, or "".

    Args:
        known: the item as it is; {} for a new item.
        parent: the item that it belongs to.
    """
    kind = one.get("itemType") or known.get("itemType")
    wrong = [name for name in one if name not in PROPERTIES.get(str(kind), {})]
    if wrong:
        return f"Invalid property '{wrong[0]}'"
    for name, value in one.items():
        is_valid = type(value) is PROPERTIES[kind][name]
        if not is_valid or not re.fullmatch(PATTERNS.get(name, "(?s:.*)"), str(value)):
            return f"'{name}' is not valid: {str(value)[:50]!r}"
        if len(str(value).encode()) > LONGEST.get(name, 10**9):
            return f"{name} is too long"
    tags = one.get("tags", [])
    if not all(set(tag) <= {"tag", "type"} and isinstance(tag["tag"], str) for tag in tags):
        return "Invalid tag property"
    if kind == "annotation" and parent.get("contentType") != "application/pdf":
        return "Parent item of highlight annotation must be a PDF attachment"
    return ""


@dataclass
class ZoteroApi:
    """The server's libraries, and what it does with the next requests.

    Attributes:
        items: the data of each item by library and key.
        authors: the users who created items, by key.
        write, read_notes: what the key may do.
        faults: what is done instead of the next requests, each (method, action): an action is a
            status with headers and perhaps a content, "drop" (no reply), or what becomes of the
            reply after the change: "lose", "empty", or "busy" (503).
        refused: items below which nothing can be written, with the code and message.
        requests: (method, path) of each request.
        before_write: called before the next request that changes something.
    local: it is the Zotero of a computer, which gives a key for writing as the person answers:
        "once", "always" or "deny".
    server: the id of that Zotero, "" for one that accepts no changes.
    closed: it answers no other program.
    """

    url: str = ""
    items: dict[str, dict[str, Data]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    authors: dict[str, str] = field(default_factory=dict)
    write: bool = True
    read_notes: bool = True
    user: str = USER
    faults: list[tuple[str, Any]] = field(default_factory=list)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    before_write: Callable[[], None] | None = None
    local: bool = False
    server: str = "aBcDeF123456"
    answers: list[str] = field(default_factory=list)
    key: str | None = None
    closed: bool = False

    def add(self, library: str, key: str, /, **data: Any) -> None:
        """Add or change an item, as a person does."""
        version = self.versions[library] = self.versions.get(library, 0) + 1
        known = self.items.setdefault(library, {}).get(key, {"itemType": "journalArticle"})
        self.items[library][key] = {**known, **data, "key": key, "version": version}

    def notes(self, library: str = f"users/{USER}") -> dict[str, Data]:
        """Return the notes of a library by the items they belong to."""
        found = self.items.get(library, {}).values()
        return {str(one["parentItem"]): one for one in found if one["itemType"] == "note"}

    def annotations(self, library: str = f"users/{USER}") -> list[Data]:
        """Return the annotations of PDF files in a library, in the order of the reader."""
        found = self.items.get(library, {}).values()
        own = [one for one in found if one["itemType"] == "annotation"]
        return sorted(own, key=lambda one: str(one["annotationSortIndex"]))

    def saved(self, library: str, one: Data) -> tuple[str, Any]:
        """Save an item of a request: return "success", "unchanged" or "failed" with the details."""
        of_library = self.items.setdefault(library, {})
        key, known = one["key"], of_library.get(one["key"])
        if one.get("parentItem") in self.refused:
            code, message = self.refused[one["parentItem"]]
            return "failed", {"key": key, "code": code, "message": message}
        if not _KEY.fullmatch(key):
            return "failed", {"key": key, "code": 400, "message": f"'{key}' is no key"}
        if one.get("version", 0) != (known["version"] if known else 0):
            return "failed", {"key": key, "code": 412, "message": "Item has been modified"}
        parent = one.get("parentItem")
        if parent is not None and parent not in of_library:
            return "failed", {"key": key, "code": 409, "message": "Parent item not found"}
        above = of_library.get(one.get("parentItem") or (known or {}).get("parentItem", ""), {})
        if why := refusal(one, known or {}, above):
            return "failed", {"key": key, "code": 400, "message": why}
        changed = {**(known or {}), **one}
        if changed == known:
            return "unchanged", key
        self.add(library, key, **changed)
        return "success", key


class _Handler(Handler):
    api: ClassVar[ZoteroApi]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, query = self._begun()
        if self._faulty():
            return
        if self.api.local and path == "/":
            self._answer(403 if self.api.closed else 200, "Nothing to see here.")
        elif path == "/keys/current":
            rights = {"library": True, "notes": self.api.read_notes, "write": self.api.write}
            access = {"user": rights, "groups": {"all": rights}}
            user = {"userID": int(self.api.user), "username": "Ada"}
            self._answer(200, {"key": KEY, **user, "access": access})
        elif library := _ITEMS.fullmatch(path):
            self._answer(200, self._found(library[1], query), library[1])
        elif (found := _CHILDREN.fullmatch(path)) and found[2] in self.api.items.get(found[1], {}):
            self._answer(200, self._found(found[1], {**query, "of": [found[2]]}), found[1])
        else:
            self._answer(404, "Not found")

    def do_POST(self) -> None:
        path, _ = self._begun()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.api.local and path == "/local/authorize":
            self._authorize(json.loads(body))
            return
        library = _ITEMS.fullmatch(path)
        if self._faulty() or self._forbidden() or library is None:
            return
        items, token = json.loads(body), self.headers.get("Zotero-Write-Token", "")
        if token and token in self.api.tokens:
            self._answer(412, "Write token already used")
        elif len(items) > 50:
            self._answer(413, "Too many items")
        else:
            self.api.tokens.add(token)
            made: Data = {"success": {}, "unchanged": {}, "failed": {}}
            for index, one in enumerate(items):
                kind, result = self.api.saved(library[1], one)
                made[kind][str(index)] = result
            self._answer(200, made, library[1])

    def do_DELETE(self) -> None:
        path, query = self._begun()
        library = _ITEMS.fullmatch(path)
        if self._faulty() or self._forbidden() or library is None:
            return
        version = self.headers.get("If-Unmodified-Since-Version")
        if version is None:
            self._answer(428, "If-Unmodified-Since-Version not provided")
        elif int(version) < self.api.versions.get(library[1], 0):
            self._answer(412, "Library has been modified since specified version")
        else:
            for key in query["itemKey"][0].split(","):
                self.api.items[library[1]].pop(key, None)
            self.api.versions[library[1]] += 1
            self._answer(204, None, library[1])

    def _authorize(self, asked: Data) -> None:
        answer = self.api.answers.pop(0)
        if answer == "quit":
            self.close_connection = True
            return
        if not asked["appName"] or answer == "deny":
            self._answer(403, {"denied": True})
            return
        self.api.key = KEY
        self._answer(200, {"key": KEY, "remember": answer == "always"})
        if answer == "once":
            self.api.answers.insert(0, "used")

    def _begun(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlparse(self.path.removeprefix("/api") if self.api.local else self.path)
        self.api.requests.append((self.command, self.path))
        if self.command != "GET" and (changed := self.api.before_write):
            self.api.before_write = None
            changed()
        return parts.path, parse_qs(parts.query)

    def _faulty(self) -> bool:
        """Do what is due instead of an answer; a request without the key is refused."""
        if self.api.local:
            return self._refused_here()
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._answer(403, "Invalid key")
            return True
        if not self.api.faults or self.api.faults[0][0] != self.command:
            return False
        if self.api.faults[0][1] in ("lose", "empty", "busy"):
            return False
        action = self.api.faults.pop(0)[1]
        if action == "drop":
            self.close_connection = True
            return True
        status, headers, *content = action
        self._answer(status, *(content or ["Something is wrong"]), headers=headers)
        return True

    def _refused_here(self) -> bool:
        """Refuse what the Zotero of a computer refuses: changes without its id, or without a key.

        A key that was given for once is used up.
        """
        api = self.api
        if self.command == "GET":
            return False
        if self.headers.get("Zotero-Server-ID") != api.server:
            self._answer(428, "Zotero-Server-ID not provided")
        elif self.headers.get("Zotero-API-Key") != api.key or api.key is None:
            self._answer(401, "API key required")
        else:
            if api.answers[:1] == ["used"]:
                api.answers.pop(0)
                api.key = None
            return False
        return True

    def _forbidden(self) -> bool:
        if not self.api.write:
            self._answer(403, "Write access denied")
        return not self.api.write

    def _found(self, library: str, query: dict[str, list[str]]) -> list[Data]:
        items = list(self.api.items.get(library, {}).values())
        if "itemKey" in query:
            assert len(query["itemKey"][0].split(",")) <= 50
            items = [one for one in items if one["key"] in query["itemKey"][0].split(",")]
        if "of" in query:
            items = [one for one in items if one.get("parentItem") == query["of"][0]]
        if "itemType" in query:
            items = [one for one in items if one["itemType"] == query["itemType"][0]]
        if "tag" in query:
            wanted = {"tag": query["tag"][0]}
            items = [one for one in items if wanted in one.get("tags", [])]
        if "includeTrashed" not in query:
            items = [one for one in items if not one.get("deleted")]
        start, limit = (int(query.get(name, ["0"])[0]) for name in ("start", "limit"))
        page = items[start : start + min(limit or 25, 100)]
        return [
            {"key": one["key"], "version": one["version"], "meta": self._meta(one), "data": one}
            for one in page
        ]

    def _meta(self, one: Data) -> Data:
        author = self.api.authors.get(one["key"])
        return {"createdByUser": {"id": 7, "username": author}} if author else {}

    def _answer(
        self, status: int, content: Any, library: str = "", headers: dict[str, str] | None = None
    ) -> None:
        if self.api.faults and self.api.faults[0][0] == self.command and status < 300:
            action = self.api.faults.pop(0)[1]
            if action == "lose":
                self.close_connection = True
                return
            if action == "busy":
                status, headers = 503, {"Retry-After": "0.01"}
            content = {}
        is_text = isinstance(content, str)
        body = b"" if content is None else (content if is_text else json.dumps(content)).encode()
        sent = {"Content-Type": "text/plain" if is_text else "application/json"}
        if library:
            sent["Last-Modified-Version"] = str(self.api.versions.get(library, 0))
        if self.api.local and self.api.server:
            sent["Zotero-Server-ID"] = self.api.server
        self.send(status, body, {**sent, **(headers or {})})


@contextmanager
def zotero_api() -> Iterator[ZoteroApi]:
    """Run a server, and stop it at the end."""
    api = ZoteroApi()
    with local_server(type("Handler", (_Handler,), {"api": api})) as port:
        api.url = f"http://127.0.0.1:{port}"
        yield api
