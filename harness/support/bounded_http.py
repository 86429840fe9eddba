"""Limit HTTP responses (size, compression, redirects), and parse their errors and Retry-After.

A server may be faulty or hostile. If a response hook of an httpx or httpx2 client calls
`limit_response`, the client reads no more bytes than a `Meter` allows. Such clients request
uncompressed responses ("identity"), and compressed responses are refused.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.errors import SkillFailed
from harness.redaction import redact

BODY = 2_000_000
"""Maximum number of bytes of a response that is read as a whole."""
LINE = 200_000
"""Maximum number of bytes of a line or an event of a streamed response."""
OBJECTS = 10_000
"""Maximum number of JSON objects in a line: parsing an object takes up to 100 microseconds."""
MESSAGE = 3_000_000
"""Maximum number of bytes of a message of the Model Context Protocol (MCP)."""
VALUES = 60_000
"""Maximum number of JSON values in an MCP message. Each value needs up to 800 bytes of memory."""
ERROR = 64_000
"""Maximum number of bytes that are read from the body of an error response."""
SHOWN = 500
"""Maximum number of characters that a message quotes from a server's error."""
REASONS = ("error", "message", "detail", "reason")
"""Keys of a JSON error object that may contain the reason; the first key with a value is used."""
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""Exceptions that parsing a malformed message may raise."""
IDENTITY = {"Accept-Encoding": "identity"}


class TooLong(SkillFailed):
    """Raised if a response, a line or a message exceeds its limit, or a response is compressed."""


@dataclass(slots=True)
class Meter:
    """Counts the bytes of a stream, and limits their number.

    Attributes:
        name: the name of the server, for messages.
        size: maximum number of bytes of the stream.
        ends: the separators of lines or events. With separators, a line may have at most `LINE`
            bytes and `OBJECTS` objects.
        cuts: True to cut the stream off after `size` bytes instead of raising an error.
    """

    name: str
    size: int = BODY
    ends: tuple[bytes, ...] = ()
    cuts: bool = False
    _read: int = 0
    _tail: bytes = b""
    _line: int = 0
    _objects: int = 0

    def feed(self, piece: bytes) -> bytes:
        """Count the next piece of the stream, and return the piece.

        With `cuts`, only the part of the piece within the limit is returned.

        Raises:
            TooLong: the stream or a line exceeds its limit.
        """
        piece = piece[: self.size - self._read] if self.cuts else piece
        self._read += len(piece)
        if self._read > self.size:
            raise TooLong(f"{self.name} sends an answer of more than {self.size / 1e6:g} MB")
        if self.ends:
            text = self._tail + piece
            ended = [at + len(end) for end in self.ends if (at := text.rfind(end)) >= 0]
            self._line = len(text) - max(ended) if ended else self._line + len(piece)
            self._tail = text[-3:]  # the longest separator has four bytes
            # If a line ends in this piece, all objects of the piece are counted for the next line.
            self._objects = piece.count(b"{") + (0 if ended else self._objects)
            if self._line > LINE or self._objects > OBJECTS:
                most = f"{LINE:,} bytes or {OBJECTS:,} objects"
                raise TooLong(f"{self.name} sends a line of more than {most}")
        return piece


def has_too_many_values(message: bytes, most: int = VALUES) -> bool:
    """Return True if a JSON text has more than about `most` values.

    The parsed values would need much more memory than the text.
    """
    return sum(map(message.count, (b"[", b"{", b","))) > most


def limit_response(response: Any, meter: Meter) -> None:
    """Limit the bytes that will be read from a response of a synchronous client.

    Reading more bytes than `meter` allows raises TooLong. The body of an error response is cut off
    after `ERROR` bytes instead.

    Args:
        response: the response of httpx or httpx2, whose body has not been read yet.

    Raises:
        TooLong: the response is compressed.
    """
    if response.headers.get("content-encoding", "identity") != "identity":
        raise TooLong(f"{meter.name} compresses its answers, which was not requested")
    if response.is_error:
        meter = Meter(meter.name, ERROR, cuts=True)
    package, stream = sys.modules[type(response).__module__.partition(".")[0]], response.stream

    def pieces(_: object) -> Iterator[bytes]:
        for piece in stream:
            if not (kept := meter.feed(piece)):
                return
            yield kept

    methods = {"__iter__": pieces, "close": lambda _: stream.close()}
    response.stream = type("BoundedStream", (package.SyncByteStream,), methods)()


def other_host(response: Any, allowed: str | None = None) -> str:
    """Return the address to which a response redirects, or "" if the redirect may be followed.

    A redirect may be followed to the same scheme, host and port, and from http to https on the
    same host with the default ports. The result is also "" if the response does not redirect.

    Args:
        allowed: another host, with or without port, to which the response may redirect.
    """
    if not response.has_redirect_location:
        return ""
    here, there = response.url, response.url.join(response.headers["location"])
    address = there.netloc.decode()
    encrypts = (here.scheme, there.scheme, here.port, there.port) == ("http", "https", None, None)
    same = (here.scheme, here.netloc) == (there.scheme, there.netloc) or (
        encrypts and here.host == there.host
    )
    return "" if same or allowed in (there.host, address) else f"{there.scheme}://{address}"


def retry_after(header: str | None) -> float | None:
    """Parse a Retry-After header; return the seconds to wait, or None.

    The header is a number of seconds or a date. The result is None if the header is missing or
    malformed, and 0 for a date in the past.
    """
    try:
        seconds = float(header or "")
    except ValueError:
        from datetime import UTC, datetime
        from email.utils import parsedate_to_datetime

        try:
            date = parsedate_to_datetime(header or "")
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def error_text(body: Any) -> str:
    """Return the reason in the body of an error response, or the body if it states no reason.

    Secrets are redacted, and the result is cut off after `SHOWN` characters.

    Args:
        body: the body of the response, as text or as a parsed JSON value.
    """
    text = " ".join(redact(_reason(body, 8)).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _reason(body: Any, depth: int) -> str:
    """Return the reason in the body of an error, or the body if it states no reason.

    The reason may contain the JSON of another error.

    Args:
        depth: maximum number of nested JSON values that are parsed or entered.
    """
    if isinstance(body, str):
        for start in (0, body.find("{")):
            with contextlib.suppress(ValueError, RecursionError):
                if depth and start >= 0 and body[start : start + 1] in ("{", "[", '"'):
                    return body[:start] + _reason(json.loads(body[start:]), depth - 1)
        return body
    if isinstance(body, list) and body and depth:
        return _reason(body[0], depth - 1)
    stated = [body[key] for key in REASONS if body.get(key)] if isinstance(body, dict) else []
    return _reason(stated[0], depth - 1) if stated and depth else json.dumps(body)
