"""The source Crossref, which finds works by DOI and by query, and states retractions.

The API is described at https://www.crossref.org/documentation/retrieve-metadata/rest-api/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any

from skills.corpus.db.completion import Facts
from skills.corpus.identity import identifiers as ids
from skills.corpus.references import csl_json as csl
from skills.corpus.sources.access import USER_AGENT, CursorSource, count
from skills.corpus.sources.services import Rates
from skills.nanda.text import flatten

PAGE = 50
"""Maximum number of works in a response; works are large, since they contain references."""
RETRACTIONS = frozenset({"retraction", "withdrawal", "removal"})

_MARK_UP = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


class Crossref(CursorSource):
    name = "crossref"
    kinds = ("doi",)
    states = frozenset({"abstract", "published", "venue", "cited", "retracted", "notice"})
    rates = Rates(PAGE, PAGE, {})
    key_header = ("User-Agent", f"{USER_AGENT} (mailto:{{}})")
    words = "query.bibliographic"
    size = "rows"
    conditions = ("from-pub-date", "until-pub-date", "has-abstract")
    separators = ","

    def is_answer(self, found: Any) -> bool:
        message = found.get("message") if isinstance(found, dict) else None
        return isinstance(message, dict) and isinstance(message.get("items"), list)

    def filter_by(self, kind: str, values: Sequence[str]) -> str:
        return ",".join(f"doi:{value}" for value in values)

    def page(self, parameters: Mapping[str, str]) -> tuple[list[Facts], str]:
        message = self.get("/works", parameters)["message"]
        works = map(self._work, csl.objects(message["items"]))
        return list(works), csl.text(message, "next-cursor")

    def _work(self, work: Mapping[str, Any]) -> Facts:
        # A retraction notice has the field `update-to`; the retracted work has `updated-by`.
        notices = [
            ids.doi(csl.text(update, "DOI"))
            for update in csl.objects(work.get("updated-by"))
            if csl.text(update, "type").lower() in RETRACTIONS
        ]
        people = csl.names_of(dict(work), "author")
        return self.found(
            ids.identifiers(csl.text(work, "DOI")),
            title=_plain(_first(work.get("title"))),
            abstract=_plain(csl.without_jats(str(work.get("abstract") or ""))),
            authors=csl.joined_names(csl.full_name(one) or csl.text(one, "name") for one in people),
            published=csl.date_of({"issued": work.get("issued")}),
            venue=_plain(_first(work.get("container-title"))),
            cited=count(work.get("is-referenced-by-count")),
            retracted=bool(notices),
            notice=next(filter(None, notices), ""),
        )


def _first(found: Any) -> str:
    texts = found if isinstance(found, list) else []
    return next((one for one in texts if isinstance(one, str)), "")


def _plain(marked: str) -> str:
    """Return text without JATS or HTML tags, on one line."""
    return flatten(unescape(_MARK_UP.sub(" ", marked)))
