"""Limits of responses, over real sockets, for the clients of httpx and httpx2."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
from local_http import Handler, local_server

from harness.support.bounded_http import (
    BODY,
    ERROR,
    LINE,
    OBJECTS,
    SHOWN,
    Meter,
    TooLong,
    error_text,
    has_too_many_values,
    limit_response,
    other_host,
    retry_after,
)

clients = pytest.mark.parametrize("package", [httpx, httpx2])


class Bodies(Handler):
    """Answers with the bytes, the status and the coding that the path names."""

    def do_GET(self) -> None:
        status, size, coding = self.path[1:].split("/")
        location = f"http://{coding}" if status == "307" else ""
        headers = {"Content-Encoding": coding} if status == "200" else {"Location": location}
        self.send(int(status), b"x" * int(size), headers)


def get(package: ModuleType, path: str, meter: Meter | None = None, allowed: str = "") -> Any:
    def check(response: Any) -> None:
        if other := other_host(response, allowed):
            raise TooLong(f"redirected to {other}")
        limit_response(response, meter or Meter("it"))

    with local_server(Bodies) as port, package.Client(event_hooks={"response": [check]}) as client:
        return client.get(f"http://127.0.0.1:{port}{path}", follow_redirects=True)


@clients
def test_a_body_has_a_limit(package: ModuleType) -> None:
    assert len(get(package, f"/200/{BODY}/identity").content) == BODY
    with pytest.raises(TooLong, match="it sends an answer of more than 2 MB"):
        get(package, f"/200/{BODY + 1}/identity")


@clients
def test_of_an_error_only_the_beginning_is_read(package: ModuleType) -> None:
    assert len(get(package, f"/500/{BODY * 2}/-").content) == ERROR


@clients
@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, gzip"])
def test_compressed_responses_are_refused_unread(package: ModuleType, coding: str) -> None:
    with pytest.raises(TooLong, match="compresses its answers"):
        get(package, f"/200/100/{coding}")


@clients
def test_redirects_stay_on_the_host(package: ModuleType) -> None:
    with pytest.raises(TooLong, match=r"redirected to http://other\.example"):
        get(package, "/307/0/other.example")
    with pytest.raises(package.ConnectError):
        get(package, "/307/0/localhost:1", allowed="localhost")


@pytest.mark.parametrize(
    ("here", "there", "stays"),
    [
        ("http://a.org/x", "/y", True),
        ("http://a.org/x", "https://a.org/x", True),
        ("https://a.org/x", "http://a.org/x", False),
        ("http://a.org/x", "http://a.org:81/x", False),
        ("http://a.org/x", "//b.org/x", False),
        ("http://a.org/x", "http://a.org@b.org/x", False),
    ],
)
def test_hosts_of_redirects(here: str, there: str, stays: bool) -> None:
    request = httpx.Request("GET", here)
    response = httpx.Response(302, headers={"location": there}, request=request)
    assert (other_host(response) == "") is stays


@pytest.mark.parametrize("ends", [(b"\n",), (b"\n\n", b"\r\n\r\n")])
def test_a_line_has_a_limit_however_it_is_cut(ends: tuple[bytes, ...]) -> None:
    meter = Meter("it", 10 * LINE, ends)
    end = ends[-1]
    for piece in (b"x" * (LINE - 9), end[:1], end[1:], b"x" * (LINE - 9), b"x"):
        assert meter.feed(piece) == piece
    with pytest.raises(TooLong, match="a line of more than 200,000 bytes"):
        meter.feed(b"x" * 20)
    choices = b"{}," * (OBJECTS // 2)
    meter = Meter("it", 10 * LINE, ends)
    for piece in (choices, end, choices, choices):
        assert meter.feed(piece) == piece
    with pytest.raises(TooLong, match="a line of more than 200,000 bytes or 10,000 objects"):
        meter.feed(b"{}")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("out of memory", "out of memory"),
        ('{"error": "full"}', "full"),
        ('{"error": {"message": "full", "code": 7}}', "full"),
        ('[{"error": {"message": "full"}}]', "full"),
        ('{"detail": [{"message": "full"}]}', "full"),
        ('runner: {"error": {"message": "full"}}', "runner: full"),
        ('"full"', "full"),
        ("7", "7"),
        ("null", "null"),
        (7, "7"),
        (None, "null"),
        ({"error": {}}, '{"error": {}}'),
        ("{not JSON", "{not JSON"),
        ("a\n\n  b", "a b"),
        ("x" * 2000, "x" * SHOWN + "..."),
    ],
)
def test_the_reason_in_an_error_of_any_type(body: Any, text: str) -> None:
    assert error_text(body) == text


def test_messages_with_more_values_than_memory_are_known() -> None:
    assert has_too_many_values(b"[" + b"[]," * 200_001)
    assert not has_too_many_values(b'"' + b"x" * 8_000_000 + b'"')


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2.0),
        ("0.01", 0.01),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_seconds_of_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_date_of_retry_after() -> None:
    until = datetime.now(UTC) + timedelta(seconds=50)
    assert 40 < (retry_after(format_datetime(until, usegmt=True)) or 0) <= 50
