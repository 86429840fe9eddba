"""Crossref: works by DOI and by query, with updates such as retractions
(https://www.crossref.org/documentation/retrieve-metadata/rest-api/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from typing import Any

from skills.corpus.identity import identifiers as ids
from skills.corpus.records import Found
from skills.corpus.references.csl_json import date_of, full_name, joined_names, names_of
from skills.corpus.sources.access import JsonAccess, count, objects, text
from skills.corpus.sources.source import Query, Rates, by_value
from skills.nanda.text import flatten

PAGE = 50
"""Works a request; they come with all their references."""
RETRACTIONS = frozenset({"retraction", "withdrawal", "removal"})

_HEADING = re.compile(r"<(jats:)?title>[^<]{0,40}</(jats:)?title>", re.IGNORECASE)
_MARK_UP = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)


class CrossrefAccess(JsonAccess):
    def is_answer(self, found: Any) -> bool:
        message = found.get("message") if isinstance(found, dict) else None
        return isinstance(message, dict) and isinstance(message.get("items"), list)


class Crossref:
    name = "crossref"
    kinds = ("doi",)
    states = frozenset({"abstract", "published", "venue", "cited", "retracted", "notice"})
    rates = Rates(PAGE, PAGE, {})

    def __init__(self, access: CrossrefAccess) -> None:
        self.access = access

    def by_ids(self, kind: str, values: Sequence[str]) -> dict[str, Found]:
        sendable = [value for value in values if "," not in value]  # it separates the filters
        if not sendable:
            return {}
        wanted = ",".join(f"doi:{value}" for value in sendable)
        message = self._works({"filter": wanted, "rows": str(PAGE)})
        return by_value(kind, sendable, map(_found, message["items"]))

    def search(self, query: Query) -> list[Found]:
        found: list[Found] = []
        cursor: Any = "*"
        while cursor and len(found) < query.limit:
            message = self._works(
                {
                    "query.bibliographic": query.text,
                    **_filter(query),
                    "rows": str(min(PAGE, query.limit)),
                    "cursor": cursor,
                }
            )
            works = message["items"]
            found += map(_found, works)
            cursor = works and text(message, "next-cursor")
        return query.chosen(found)

    def _works(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of works: its items, and the next cursor."""
        message = self.access.get("/works", parameters)["message"]
        return {**message, "items": list(objects(message["items"]))}


def _filter(query: Query) -> dict[str, str]:
    dates = (("from-pub-date", query.since), ("until-pub-date", query.until))
    conditions = [f"{name}:{day.isoformat()}" for name, day in dates if day]
    conditions += ["has-abstract:true"] * query.with_abstract
    return {"filter": ",".join(conditions)} if conditions else {}


def _found(work: Mapping[str, Any]) -> Found:
    item = dict(work)
    updates = list(_retractions(work))
    return Found(
        Crossref.name,
        ids.identifiers(text(work, "DOI")),
        title=_plain(_first(work.get("title"))),
        abstract=_plain(_HEADING.sub(" ", str(work.get("abstract") or ""))),
        authors=joined_names(map(_name, names_of(item, "author"))),
        published=date_of({"issued": work.get("issued")}),
        venue=_plain(_first(work.get("container-title"))),
        cited=count(work.get("is-referenced-by-count")),
        retracted=bool(updates),
        notice=next(filter(None, updates), ""),
    )


def _retractions(work: Mapping[str, Any]) -> Iterator[str]:
    """Yield the DOI of each notice that retracts a work; `update-to` is the notice's own side."""
    for update in objects(work.get("updated-by")):
        if text(update, "type").lower() in RETRACTIONS:
            yield ids.doi(text(update, "DOI"))


def _name(person: dict[str, Any]) -> str:
    return full_name(person) or text(person, "name")


def _first(found: Any) -> str:
    return (
        next((one for one in found if isinstance(one, str)), "") if isinstance(found, list) else ""
    )


def _plain(marked: str) -> str:
    """Return text without JATS or HTML."""
    return flatten(unescape(_MARK_UP.sub(" ", marked)))
