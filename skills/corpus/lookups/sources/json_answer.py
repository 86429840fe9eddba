"""Read answers in JSON, whose values may be of any type or missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import requests

from skills.corpus.lookups.access import Access
from skills.nanda.text import flatten


class JsonAccess(Access):
    """Access to a source that answers in JSON; only an answer of its form is cached."""

    def is_answer(self, found: Any) -> bool:
        """Return True if JSON has the form of an answer."""
        return isinstance(found, dict)

    def check(self, response: requests.Response) -> None:
        super().check(response)
        self.read(response)

    def read(self, response: requests.Response) -> Any:
        """Return the JSON of a response.

        Raises:
            SkillFailed: it is not JSON, cut off, or not an answer.
        """
        try:
            found = response.json()
        except (ValueError, RecursionError) as exc:
            raise self.failed("the response is not JSON, or cut off") from exc
        if not self.is_answer(found):
            raise self.failed("the response is not an answer of its API")
        return found

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Return the answer to a GET.

        Raises:
            SkillFailed, SourceUnavailable, OutputError: see `request` and `read`.
        """
        return self.read(self.request("GET", path, params=parameters))


def text(found: Any, *names: str) -> str:
    """Return the text or number under these names on one line, "" if there is none."""
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    known = isinstance(found, (str, int)) and not isinstance(found, bool)
    return flatten(str(found)) if known else ""


def objects(found: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list."""
    if isinstance(found, list):
        yield from (one for one in found if isinstance(one, Mapping))


def count(found: Any) -> int | None:
    """Return a number of citations, None if it is none."""
    is_count = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    return found if is_count else None
