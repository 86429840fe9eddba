"""What the application refuses: other hosts, origins and sites, and browsers without a session."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from served_app import Served

from skills.serve.guard import HEADERS, MOST

PATHS = ("/", "/papers", "/papers/1", "/static/style.css", "/static/serve.js", "/nothing")


@pytest.fixture
def stranger(app: Served) -> Iterator[httpx.Client]:
    """A client without a session."""
    with httpx.Client(base_url=app.origin, trust_env=False) as opened:
        yield opened


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_nothing_is_answered(stranger: httpx.Client, path: str) -> None:
    for address in (path, f"{path}?token=", f"{path}?token=guess"):
        answer = stranger.get(address)
        assert answer.status_code == 401
        assert "with a token for one use" in answer.text
        assert "set-cookie" not in answer.headers


def test_a_cookie_that_was_not_issued_opens_nothing(stranger: httpx.Client, app: Served) -> None:
    name = f"nanda-{app.origin.rpartition(':')[2]}"
    for value in (b"", b"guess", b"\xff\xe9"):
        answer = stranger.get("/papers", headers={b"cookie": name.encode() + b"=" + value})
        assert answer.status_code == 401


def test_a_token_is_exchanged_for_a_cookie_once(stranger: httpx.Client, app: Served) -> None:
    entrance = app.entrance("/papers?q=keeper3&year=2024")
    answer = stranger.get(entrance)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/papers?q=keeper3&year=2024"
    [cookie] = answer.headers.get_list("set-cookie")
    assert re.search("; HttpOnly", cookie, re.I)
    assert re.search("; SameSite=strict", cookie, re.I)
    assert stranger.get(answer.headers["location"]).status_code == 200
    with httpx.Client(trust_env=False) as other:
        assert other.get(entrance).status_code == 401  # the token was used before


def test_a_browser_with_a_session_needs_no_other_token(client: httpx.Client, app: Served) -> None:
    entrance = app.entrance()
    assert client.get(entrance).status_code == 200
    assert "token" not in str(client.get(entrance).url)
    with httpx.Client(trust_env=False) as other:
        assert other.get(entrance).status_code == 303  # the token is still unused


def test_the_way_in_leads_to_no_other_host(app: Served) -> None:
    with httpx.Client(trust_env=False) as other:
        answer = other.get(app.entrance("//evil.example/papers"))
    assert answer.headers["location"] == "/evil.example/papers"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_a_host_that_was_rebound_is_not_served(
    client: httpx.Client, app: Served, host: str
) -> None:
    named = host.format(port=app.origin.rpartition(":")[2])
    assert client.get("/papers", headers={"host": named}).status_code in (400, 421)


def test_localhost_is_served(app: Served) -> None:
    entrance = app.entrance("/papers").replace("127.0.0.1", "localhost")
    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        assert client.get(entrance).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "", None])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_change_needs_the_origin_of_the_application(
    client: httpx.Client, method: str, origin: str | None
) -> None:
    del client.headers["origin"]
    headers = {} if origin is None else {"origin": origin}
    answer = client.request(method, "/papers", headers=headers, content=b"a=b")
    assert answer.status_code == 403
    assert "another origin" in answer.text


def test_a_change_of_its_own_page_passes(client: httpx.Client) -> None:
    # The guard lets the request pass, and the route refuses the method.
    assert client.post("/papers", content=b"a=b").status_code == 405


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_may_only_link(client: httpx.Client, site: str) -> None:
    from_elsewhere = {"sec-fetch-site": site}
    image = client.get("/papers", headers={**from_elsewhere, "sec-fetch-dest": "image"})
    link = client.get("/papers", headers={**from_elsewhere, "sec-fetch-dest": "document"})
    assert (image.status_code, link.status_code) == (403, 200)
    posted = {**from_elsewhere, "sec-fetch-dest": "document"}
    assert client.post("/papers", headers=posted, content=b"a=b").status_code == 403


def test_large_bodies_are_refused(client: httpx.Client) -> None:
    assert client.post("/papers", content=b"a" * (MOST + 1)).status_code == 413
    assert client.post("/papers", content=iter([b"a"])).status_code == 413  # its length is unknown


@pytest.mark.parametrize(
    "path", ["/papers/{}", "/papers/{}/similar", "/jobs/{}", "/compare/curations/1?after={}"]
)
def test_a_long_number_is_no_error_of_the_server(client: httpx.Client, path: str) -> None:
    assert client.get(path.format("9" * 5_000)).status_code == 414
    assert client.get(path.format("9" * 3_000)).status_code in (400, 404)


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_headers(
    client: httpx.Client, stranger: httpx.Client, path: str
) -> None:
    for one in (client, stranger):
        headers = one.get(path).headers
        for name in HEADERS.keys() - {"cache-control"}:
            assert headers[name] == HEADERS[name]
        assert "server" not in headers
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_browsers_keep_static_files_and_no_pages(client: httpx.Client) -> None:
    assert client.get("/papers").headers["cache-control"] == "no-store"
    script = client.get("/static/serve.js")
    assert script.headers["cache-control"] == "private, no-cache"
    again = client.get("/static/serve.js", headers={"if-none-match": script.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/../plugin.py",
        "/static/%2e%2e/plugin.py",
        "/static/..%2fplugin.py",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
        "/static//etc/passwd",
        "/static/..\\plugin.py",
        "/static/%00",
        "/static/" + "a" * 3000,
        "/static",
        "/static/",
    ],
)
def test_static_files_are_those_of_the_folder(client: httpx.Client, path: str) -> None:
    url = httpx.URL(client.base_url).copy_with(raw_path=path.encode())
    answer = client.get(url)
    assert answer.status_code in (400, 404)
    assert "Skill" not in answer.text
    assert "root:" not in answer.text


def test_an_open_page_makes_an_address_for_another_browser(client: httpx.Client) -> None:
    page = client.post("/access", content=b"")
    [address] = re.findall('<code id="address">([^<]+)</code>', page.text)
    with httpx.Client(trust_env=False, follow_redirects=True) as other:
        assert other.get(address).status_code == 200
    with httpx.Client(trust_env=False) as third:
        assert third.get(address).status_code == 401
