"""Refuse requests for other hosts, from pages of other origins, and from unknown browsers.

The Host header must name this server, since another domain may also resolve to 127.0.0.1. A page of
another origin can link to the application, but its other requests are refused. A request must have
the cookie of a session. A token in the URL opens a session: the browser gets the cookie, and is
redirected to the URL without the token.
"""

from __future__ import annotations

import hashlib
import secrets
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"  # noqa: S105 the name of a URL parameter
MOST = 1_000_000
"""Maximum size of a request body in bytes."""
LONGEST = 4_000
"""Maximum number of characters of the path and the query of a URL.

Numbers in a URL are then shorter than 4,300 digits, the maximum that `int()` parses.
"""
SAFE = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With "no-referrer", browsers would send forms without their origin.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
STATIC = "private, no-cache"
"""The Cache-Control header of static files, which browsers store but check for changes."""
ENTRANCE = (
    "This application answers only a browser that was opened with its address. /serve prints an "
    "address with a token for one use; the link at the foot of an open page shows a new address. "
    "If no page is open, end /serve with Ctrl-C and start it again.\n"
)
BYTES = 32
"""Number of random bytes in a token and in a cookie."""


class Guard:
    """ASGI middleware that checks every request before it is routed.

    Args:
        port: the port of the server, which is part of the accepted hosts and origins.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions, port: int) -> None:
        self.app, self.sessions = app, sessions
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self.cookie = f"nanda-{port}"
        """The name of the cookie; it contains the port, since all ports of a host share cookies."""

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
        """Return a refusal of a request for another host, from another site, or of excessive size.

        The result is None for an acceptable request.
        """
        headers = request.headers
        if headers.get("host") not in self.hosts or len(headers.getlist("host")) != 1:
            return PlainTextResponse("This host is not served.", HTTPStatus.MISDIRECTED_REQUEST)
        origin, is_safe = headers.get("origin"), request.method in SAFE
        if origin != f"http://{headers['host']}" and not (is_safe and origin is None):
            return PlainTextResponse("The request comes from another origin.", HTTPStatus.FORBIDDEN)
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not (
            is_safe and headers.get("sec-fetch-dest") == "document"
        ):
            return PlainTextResponse("The request comes from another site.", HTTPStatus.FORBIDDEN)
        if len(request.url.path) + len(request.url.query) > LONGEST:
            return PlainTextResponse("The address is too long.", HTTPStatus.REQUEST_URI_TOO_LONG)
        length = headers.get("content-length", "")
        if not is_safe and not (length.isdecimal() and int(length) <= MOST):
            return PlainTextResponse(f"A request may have at most {MOST:,} bytes.", HTTPStatus(413))
        return None

    def _entered(self, request: Request) -> Response | None:
        """Return a refusal, a redirect to the URL without its token, or None to continue.

        A request without a session and without a valid token is refused. If a request without a
        session has a valid token, the token opens a session, and the redirect sets the cookie. The
        session of a request without a token is stored in `request.state.session`.
        """
        query = request.query_params
        session = self.sessions.find(request.cookies.get(self.cookie, ""))
        if TOKEN not in query:
            request.state.session = session
            return PlainTextResponse(ENTRANCE, HTTPStatus.UNAUTHORIZED) if session is None else None
        cookie = self.sessions.redeem(query[TOKEN]) if session is None else None
        if session is None and cookie is None:
            return PlainTextResponse(ENTRANCE, HTTPStatus.UNAUTHORIZED)
        rest = urlencode([pair for pair in query.multi_items() if pair[0] != TOKEN])
        # A path that begins with "//" would be a URL of another host.
        path = "/" + request.url.path.lstrip("/\\")
        answer = RedirectResponse(f"{path}?{rest}" if rest else path, HTTPStatus.SEE_OTHER)
        if cookie:
            answer.set_cookie(self.cookie, cookie, httponly=True, samesite="strict")
        return answer


def address_of(port: int, sessions: Sessions) -> str:
    """Return the URL of the start page, with a new token that is valid once."""
    return f"http://127.0.0.1:{port}/?{TOKEN}={sessions.new_token()}"


Session = dict[str, Any]
"""Values that pages store for a browser until the server ends, such as the reviewer's name."""


class Sessions:
    """The unused tokens, and the sessions by cookie.

    Only digests of tokens and cookies are stored, so that the time of a lookup reveals no secret.
    """

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._open: dict[str, Session] = {}

    def new_token(self) -> str:
        """Return a token that can open one session."""
        token = secrets.token_urlsafe(BYTES)
        self._tokens.add(_digest(token))
        return token

    def redeem(self, token: str) -> str | None:
        """Open a session with a token, and return its cookie; return None for an unknown token."""
        try:
            self._tokens.remove(_digest(token))
        except KeyError:
            return None
        cookie = secrets.token_urlsafe(BYTES)
        self._open[_digest(cookie)] = {}
        return cookie

    def find(self, cookie: str) -> Session | None:
        """Return the session with a cookie, or None if there is no such session."""
        return self._open.get(_digest(cookie))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
