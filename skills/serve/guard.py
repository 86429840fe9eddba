"""Refuse every request that does not come from the application's own pages in a known browser.

A request must name this server as its host (another name may have been rebound to 127.0.0.1), must
not come from a page of another origin, and needs the cookie of a session. A token in the address is
exchanged for a cookie and removed from the address.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"  # noqa: S105  the name of the parameter
MOST = 1_000_000
"""Bytes that the body of a request may have."""
LONGEST = 4_000
"""Characters that an address may have; Python refuses to read a number of 4,301 digits."""
SAFE = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer", with which forms are sent without their origin.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
STATIC = "private, no-cache"
"""Browsers keep static files, but ask whether they are current."""
ENTRANCE = (
    "This application answers only the browser that was opened with its address. /serve prints "
    "that address, with a token for one use; the foot of an open page makes further ones. If no "
    "page is open any more, end /serve with Ctrl-C and start it again.\n"
)
BYTES = 32
"""Random bytes of a token or cookie."""


class Guard:
    """Middleware around all routes.

    Args:
        port: the one served at, part of the only hosts and origins that are accepted.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions, port: int) -> None:
        self.app, self.sessions = app, sessions
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self.cookie = f"nanda-{port}"
        """Browsers send cookies to all ports of a host."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if request.url.path.startswith("/static/"):
                    headers["cache-control"] = STATIC
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(request) or self._entered(request)
        await (answer or self.app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that no page of this application makes."""
        headers = request.headers
        if headers.get("host") not in self.hosts or len(headers.getlist("host")) != 1:
            return _refused(HTTPStatus.MISDIRECTED_REQUEST, "This host is not served.")
        origin, is_safe = headers.get("origin"), request.method in SAFE
        if origin != f"http://{headers['host']}" and not (is_safe and origin is None):
            return _refused(HTTPStatus.FORBIDDEN, "The request comes from another origin.")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (
            is_safe and headers.get("sec-fetch-dest") == "document"
        ):
            return _refused(HTTPStatus.FORBIDDEN, "The request comes from another site.")
        if len(request.url.path) + len(request.url.query) > LONGEST:
            return _refused(HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long.")
        length = headers.get("content-length", "")
        if not is_safe and not (length.isdecimal() and int(length) <= MOST):
            return _refused(HTTPStatus(413), f"The most is {MOST:,} bytes.")
        return None

    def _entered(self, request: Request) -> Response | None:
        """Return the exchange of a token for a cookie, or the refusal of a request without one."""
        query = request.query_params
        session = self.sessions.find(request.cookies.get(self.cookie, ""))
        if TOKEN not in query:
            request.state.session = session
            return None if session else _refused(HTTPStatus.UNAUTHORIZED, ENTRANCE)
        cookie = None if session else self.sessions.redeem(query[TOKEN])
        if session is None and cookie is None:
            return _refused(HTTPStatus.UNAUTHORIZED, ENTRANCE)
        rest = urlencode([pair for pair in query.multi_items() if pair[0] != TOKEN])
        # A path that begins with two slashes would be another host.
        path = "/" + request.url.path.lstrip("/\\")
        answer = RedirectResponse(f"{path}?{rest}" if rest else path, HTTPStatus.SEE_OTHER)
        if cookie:
            answer.set_cookie(self.cookie, cookie, httponly=True, samesite="strict")
        return answer


def address_of(port: int, sessions: Sessions) -> str:
    """Return the address of the start page, with a new token for one browser."""
    return f"http://127.0.0.1:{port}/?{TOKEN}={sessions.new_token()}"


def _refused(status: HTTPStatus, why: str) -> Response:
    return PlainTextResponse(why, status)


@dataclass(slots=True)
class Session:
    """One browser.

    Attributes:
        values: what pages keep for it until the server ends, such as a reviewer's name.
    """

    values: dict[str, Any] = field(default_factory=dict)


class Sessions:
    """Sessions by their cookies. Only digests are kept, so that no lookup depends on a secret."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._open: dict[str, Session] = {}

    def new_token(self) -> str:
        """Return a token that opens one session, once."""
        token = secrets.token_urlsafe(BYTES)
        self._tokens.add(_digest(token))
        return token

    def redeem(self, token: str) -> str | None:
        """Use up a token and return the cookie of a new session; None if it is not valid."""
        try:
            self._tokens.remove(_digest(token))
        except KeyError:
            return None
        cookie = secrets.token_urlsafe(BYTES)
        self._open[_digest(cookie)] = Session()
        return cookie

    def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie."""
        return self._open.get(_digest(cookie))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
