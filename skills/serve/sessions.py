"""The browsers that may use the application: one-time tokens, and cookies for them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

BYTES = 32
"""Random bytes of a token or cookie."""


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
