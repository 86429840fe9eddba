"""How the `arxiv` package is made to ask arXiv politely, and to tell what it was answered.

What the `arxiv` package leaves open is closed here: its requests know no timeout and no
Retry-After, its pause is one of a single process, its parser takes a feed that was cut off, or a
page that is no feed, for one with fewer papers, and it takes an empty first page for an answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import settings
from harness._version import __version__
from skills.annotate.arxiv.cache import PageCache
from skills.annotate.arxiv.pages import Access, Pages

if TYPE_CHECKING:
    import arxiv  # type: ignore[import-untyped]
    import requests

URL_VARIABLE = "HARNESS_ARXIV_URL"
USER_AGENT = f"nanda-harness/{__version__}"
TIMEOUT = 20.0
"""Seconds to wait for a connection, and for each piece of an answer."""
DELAY = 3.0
"""Seconds between two requests, which arXiv's terms of use ask for."""


def no_notice(text: str) -> None:
    """Say nothing."""


def access(
    hint: str,
    *,
    cache_dir: Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    delay: float = DELAY,
    wait: Callable[[float], None] = time.sleep,
    notice: Callable[[str], None] = no_notice,
) -> Access:
    """Access as the environment has it.

    Args:
        cache_dir: the user's cache folder, instead of the one the environment names.

    Raises:
        UsageError: the environment cannot be used.
    """
    env = os.environ if environ is None else environ
    folder = (cache_dir or settings.from_environment(env).cache_dir) / "arxiv"
    return Access(folder, env.get(URL_VARIABLE) or None, timeout, delay, wait, notice, hint)


def results(search: arxiv.Search, page_size: int, access: Access) -> tuple[list[arxiv.Result], int]:
    """The papers of a search, and how many entries the pages held, readable or not.

    Raises:
        SkillFailed: arXiv cannot be reached, refuses, or answers with something else.
    """
    import arxiv
    import requests

    client = arxiv.Client(page_size=page_size, delay_seconds=0, num_retries=0)
    if access.url:
        client.query_url_format = _query_format(access.url)
    with closing(client._session) as session:
        pages = _mount(session, access)
        try:
            return list(client.results(search)), pages.entries
        except arxiv.HTTPError as exc:
            raise access.failed(f"it answered HTTP {exc.status}", exc.url) from exc
        except arxiv.ArxivError as exc:
            raise access.failed(exc.message, exc.url) from exc
        except requests.RequestException as exc:
            raise access.unreachable(type(exc).__name__) from exc
        except ValueError as exc:  # the package's own reading of dates
            raise access.failed(f"its answer is not understood ({exc})") from exc


def _query_format(url: str) -> str:
    """The package's form of a query address: `{}` stands for the query."""
    return url.replace("{", "{{").replace("}", "}}") + ("&{}" if "?" in url else "?{}")


def _mount(session: requests.Session, access: Access) -> Pages:
    """Let all requests of `session` go through `Pages`; the package has no other way."""
    from io import BytesIO

    from requests import PreparedRequest, Response
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPResponse

    pages = Pages(access, PageCache(access.folder))

    class Patient(HTTPAdapter):
        def send(self, request: PreparedRequest, *_: Any, **options: Any) -> Response:
            request.headers["User-Agent"] = USER_AGENT
            plain = super().send
            answer = pages.get(
                request.url or "", lambda: plain(request, **{**options, "timeout": access.timeout})
            )
            if isinstance(answer, Response):
                return answer
            kept = HTTPResponse(BytesIO(answer), status=200, preload_content=False)
            return self.build_response(request, kept)

    session.mount("https://", Patient())
    session.mount("http://", Patient())
    return pages
