"""Requests to the arXiv API by the `arxiv` package, three seconds apart.

Importing this module imports requests and `arxiv`; import it where a request is made.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import arxiv  # type: ignore[import-untyped]
import requests
from lxml import etree  # type: ignore[import-untyped]

from skills.corpus.sources.access import RETRIES, Access

URL_VARIABLE = "HARNESS_ARXIV_URL"
DELAY = 3.0
"""Seconds between two requests, as arXiv's terms of use require."""
HINT = (
    "Try again in a minute; `/annotate FILE` annotates papers you have, "
    "and `--source corpus` surveys those of your corpus."
)

_ATOM = "{http://www.w3.org/2005/Atom}"
_TOTAL = "{http://a9.com/-/spec/opensearch/1.1/}totalResults"
_REQUIRED = ("id", "published", "updated")


class ArxivApi(Access):
    """Access to the arXiv API; HARNESS_ARXIV_URL names another address, such as a mirror."""

    def __init__(
        self,
        folder: Path,
        notice: Callable[[str], None] = lambda _: None,
        *,
        url: str = "",
        **options: Any,
    ) -> None:
        address = url or os.environ.get(URL_VARIABLE) or "https://export.arxiv.org/api/query"
        super().__init__(
            "arXiv", address, folder, notice, **{"delay": DELAY, "hint": HINT, **options}
        )

    def results(self, search: arxiv.Search, page_size: int) -> list[arxiv.Result]:
        """Return the results of a search.

        Raises:
            SkillFailed: arXiv cannot be reached, refuses, or sends something other than papers.
            OutputError: the cache cannot be used.
        """
        with self._client(page_size) as client:
            return list(client.results(search))

    def page(self, search: arxiv.Search, size: int) -> list[arxiv.Result]:
        """Return the results of the first page; of a list of ids, arXiv may state more papers.

        Raises:
            SkillFailed, OutputError: see `results`.
        """
        with self._client(size) as client:  # the package has no public way to get one page
            address = client._format_url(search, 0, size)
            return list(client._parse_feed(address, first_page=True).results)

    @contextlib.contextmanager
    def _client(self, page_size: int) -> Iterator[arxiv.Client]:
        client = arxiv.Client(page_size=page_size, delay_seconds=0, num_retries=RETRIES)
        client.query_url_format = f"{self.url}?{{}}"
        with self.session() as session:
            client._session = session  # the package has no public way to set it
            try:
                yield client
            except arxiv.UnexpectedEmptyPageError as exc:
                reason = "it has papers for this query, but sends an empty page"
                raise self.failed(reason) from exc

    def check(self, response: requests.Response) -> None:
        """Check that a response is a whole feed: a truncated one reads like one with fewer papers.

        Raises:
            SkillFailed: it is not.
            UnexpectedEmptyPageError: it has no entry although there are papers; the `arxiv` package
                repeats the request.
        """
        super().check(response)
        try:
            root = etree.fromstring(response.content)
        except etree.XMLSyntaxError as exc:
            raise self.failed("the response is damaged or cut off") from exc
        if root.tag != f"{_ATOM}feed":
            raise self.failed("the response is not a list of papers")
        entries = root.findall(f"{_ATOM}entry")
        if any(entry.find(_ATOM + name) is None for entry in entries for name in _REQUIRED):
            raise self.failed(f"an entry lacks one of {', '.join(_REQUIRED)}")
        total = (root.findtext(_TOTAL) or "").strip()
        if not entries and total not in ("", "0"):
            self.notice(f"arXiv has {total} papers for this query, but sent an empty page")
            raise arxiv.UnexpectedEmptyPageError(response.url, 0, None)

    def lasts(self, response: Any) -> bool:
        """Return True if a page can be cached; arXiv also sends empty pages by mistake."""
        return b"<entry" in response.content and b"/api/errors" not in response.content
