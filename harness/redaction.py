"""Remove secrets from text that is shown or stored: keys, passwords, and secrets in URLs."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator

REDACTED = "[redacted]"
_NAME = "key|token|secret|passw(?:or)?d|pwd|credentials?|signature|sig|auth|pat"
# The patterns are compiled on first use, since every start imports this module.
_SECRET_NAME = rf"(?i)(?:^|[_.-])(?:api)?(?:{_NAME})s?(?:$|[_.-])"
_USER_INFO = r"""(?<=://)[^\s/?#'"<>\\]*@"""
_PARAMETER = rf"""(?i)([?&](?:[\w.-]*[_.-])?(?:api)?(?:{_NAME})=)[^\s&#'"<>\\]+"""
_remembered: set[str] = set()


def redact(text: str) -> str:
    """Return `text` without known secrets, and without keys, user names and passwords in URLs."""
    if "://" in text or "?" in text or "&" in text:
        text = re.sub(_PARAMETER, rf"\1{REDACTED}", re.sub(_USER_INFO, "", text))
    return without_secrets(text)


def without_secrets(text: str) -> str:
    """Return `text` with the known keys and passwords of this process replaced by `REDACTED`."""
    for secret in sorted(_remembered | _of_environment(), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


def held_back(text: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of a secret."""
    secrets = _remembered | _of_environment()
    lengths = range(min(len(text), max(map(len, secrets), default=1) - 1), 0, -1)
    return next((n for n in lengths if any(s.startswith(text[-n:]) for s in secrets)), 0)


def remember(value: str, name: str = "key") -> str:
    """Register a key, or the secrets in a URL, for redaction, and return `value`.

    Args:
        name: the name of the setting. A value that is not a URL is a key only if the name
            contains a word such as "key" or "token".
    """
    _remembered.update(_secrets_of(name, value))
    return value


@functools.cache
def _of_environment() -> frozenset[str]:
    found = (_secrets_of(name, value) for name, value in os.environ.items())
    return frozenset(secret for secrets in found for secret in secrets)


def _secrets_of(name: str, value: str) -> Iterator[str]:
    """Yield the secrets in the value of a setting; a URL may contain several."""
    if "://" in value or "@" in value:
        from urllib.parse import parse_qsl, unquote, urlsplit

        try:
            parts = urlsplit(value if "://" in value else f"//{value}")
        except ValueError:  # raised if the value is not a URL
            return
        yield from filter(_is_secret, {parts.password or "", unquote(parts.password or "")})
        for parameter, stated in parse_qsl(parts.query):
            yield from _secrets_of(parameter, stated)
    elif re.search(_SECRET_NAME, name) and _is_secret(value):
        yield value


def _is_secret(value: str) -> bool:
    """Return True if a value looks like a key, and not like a word, a path or a sentence."""
    is_long = len(value) >= 20 or (len(value) >= 8 and any(map(str.isdigit, value)))
    return is_long and not value.startswith(("/", "~")) and " " not in value
