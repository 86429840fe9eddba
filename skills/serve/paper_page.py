"""The page of a paper: abstract, moves, versions of the annotation, provenance, PDF file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harness.errors import InputError, UsageError
from skills.corpus.corpus_store import Database
from skills.corpus.db.facets import categories
from skills.corpus.db.reads import (
    REVIEWED,
    StoredPaper,
    highlights_of,
    numbered,
    rows_with_annotations,
)
from skills.corpus.db.rows import members, stored_record
from skills.corpus.exports.highlights import pdf_of
from skills.corpus.html_page import facts, paper_view
from skills.corpus.listing import complete_soon, stamp
from skills.corpus.records import Annotated
from skills.corpus.table import paper_key
from skills.nanda.framework import Framework
from skills.nanda.marked_sentences import marked
from skills.reporting.annotation_view import Piece, word_diff
from skills.serve.pages import State, kept, message, page, with_files
from skills.serve.papers_page import PATH, filtered

MOST = 2**63 - 1
"""The largest integer that SQLite can store."""
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Version:
    """An annotation of a paper, current or not.

    Attributes:
        row_id: the id of the annotation.
    """

    row_id: int
    model: str
    created_at: str
    is_current: bool
    record: Mapping[str, Any]


def versions(db: sqlite3.Connection, paper_id: int, framework: Framework) -> list[Version]:
    """Return all annotations of a paper by `framework`, the current annotation first.

    The annotations of merged rows are included. An annotation that lacks a move of `framework` is
    omitted.
    """
    rows = db.execute(
        "SELECT id, model, created_at, current, record FROM annotations"
        " WHERE paper_id IN (SELECT value FROM json_each(?)) AND framework = ?"
        " ORDER BY current DESC, created_at DESC, id DESC",
        [json.dumps(members(db, paper_id)), framework.name],
    )
    found = [
        Version(row_id, model, created_at, bool(current), stored_record(record))
        for row_id, model, created_at, current, record in rows
    ]
    return [one for one in found if all(name in one.record for name in framework.names)]


def routes(state: State) -> list[Route]:
    return [
        Route(PATH + "/{number:int}", kept(state, _paper)),
        Route(PATH + "/{number:int}/pages/{page:int}.png", partial(_image, state)),
        Route(PATH + "/{number:int}/similar", partial(_similar, state)),
    ]


def _paper(state: State, request: Request) -> Response:
    """Return the page of the paper with the row number in the URL.

    The URL parameter `version` selects an annotation of the paper, `against` another annotation for
    a comparison, and `page` a page of the PDF file.
    """
    number, query = min(request.path_params["number"], MOST), request.query_params
    with state.corpus() as db:
        found = numbered(db, number)
        made = versions(db, number, state.framework) if found else []
        rows = rows_with_annotations(db, [number]) if found else []
        highlights = [one for one in highlights_of(db, number) if one.kind != REVIEWED]
    if found is None:
        return message(request, "No such paper", f"The corpus has no paper {number}.")
    shown = _chosen(made, query.get("version")) or next(iter(made), None)
    against = _chosen(made, query.get("against"))
    item = Annotated(found.paper, dict(shown.record)) if shown else None
    path = pdf_of(item) if item else None
    files = {path: stamp(path)} if path else {}
    made_page = page(
        request,
        "browse/paper.html",
        title=found.paper.title or f"Paper {found.paper.id}",
        found=found,
        framework=state.framework,
        view=paper_view(item, state.framework, {}) if item else None,
        sentences=marked(found.paper.abstract, {}),
        shown=shown,
        against=against,
        versions=made,
        details=_details,
        changes=_changes(against, shown, state.framework) if against and shown else (),
        provenance=facts(shown.record["provenance"]) if shown else (),
        categories=categories(found.paper.categories),
        filtered=filtered,
        review=_review(state, found, shown),
        highlights=highlights,
        others=[(row, f"{PATH}/{row}") for row in rows if row != number],
        **_sheet(state, request, item),
    )
    return with_files(made_page, files)


def _sheet(state: State, request: Request, item: Annotated | None) -> dict[str, Any]:
    """Return the template variables for the PDF file of a paper.

    The variable `sheet` is None if the paper has no PDF file.
    """
    query, wanted = request.query_params, request.query_params.get("page", "")
    number = int(wanted) if wanted.isdecimal() else None
    sheet = state.pdfs.sheet(item, state.framework, number) if item else None
    if sheet is None:
        return {"sheet": None, "places": {}}
    given = {name: query[name] for name in ("version", "against") if name in query}

    def address(page: int) -> str:
        return "?" + urlencode({**given, "page": page}, errors="replace")

    return {
        "sheet": sheet,
        "address_of": address,
        "image": f"{request.url.path}/pages/{sheet.number}.png{address(sheet.number)}",
        "places": {
            move: (f"{address(page) * (page != sheet.number)}#place.{first}", page, colour)
            for move, (page, first, colour) in sheet.places.items()
        },
    }


def _image(state: State, request: Request) -> Response:
    """Return a page of a paper's PDF file as a PNG image.

    The URL parameter `version` selects the annotation, which names the PDF file.
    """
    number, page = (min(request.path_params[name], MOST) for name in ("number", "page"))
    with state.corpus() as db:
        found = numbered(db, number)
        made = versions(db, number, state.framework) if found else []
    shown = _chosen(made, request.query_params.get("version")) or next(iter(made), None)
    try:
        if found is None or shown is None:
            raise InputError("has no annotation", where=f"paper {number}")
        image = state.pdfs.image(Annotated(found.paper, dict(shown.record)), page)
    except InputError as error:
        return message(request, "No such page", f"{error}")
    return Response(image, media_type="image/png")


def _chosen(made: Sequence[Version], wanted: str | None) -> Version | None:
    return next((one for one in made if f"{one.row_id}" == wanted), None)


def _review(state: State, found: StoredPaper, shown: Version | None) -> str:
    """Return the URL at which an annotation is reviewed; "" if it is not under review."""
    if shown is None or not (shown.is_current and state.reviews_corpus):
        return ""
    query = urlencode({"id": paper_key(found.paper.id)}, errors="replace")
    return f"/review/paper?{query}"


def _details(version: Version) -> list[str]:
    """Return the time of an annotation, and its wording if known, such as "extractive wording"."""
    wording = (version.record["provenance"].get("decoding") or {}).get("wording")
    time = version.created_at[:16].replace("T", " ")
    return [time, f"{wording} wording"] if wording else [time]


def _changes(
    old: Version, new: Version, framework: Framework
) -> list[tuple[str, tuple[Piece, ...]]]:
    """Return each move in which two versions differ: its label, and its text with the changes."""
    texts = [(one.label, old.record[one.name], new.record[one.name]) for one in framework.moves]
    return [(label, tuple(word_diff(a, b))) for label, a, b in texts if a != b]


def _similar(state: State, request: Request) -> Response:
    """Return the page with the papers that are most similar to a paper.

    The URL parameter `move` limits the comparison to this move.
    """
    number, move = min(request.path_params["number"], MOST), request.query_params.get("move")
    framework = state.framework
    with state.corpus() as db:
        found = numbered(db, number)
        if found is None:
            return message(request, "No such paper", f"The corpus has no paper {number}.")
        corpus, error = Database(db, framework), ""
        try:
            complete_soon(corpus)
            chosen = move if move in framework.names else None
            near = corpus.similar(found.paper.id, chosen, SHOWN)
        except (InputError, UsageError) as exc:  # for example, an extra is not installed
            near, error = [], f"{exc}"
    return page(
        request,
        "browse/similar.html",
        HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        title=f"Similar to {found.paper.title or found.paper.id}",
        address=f"{PATH}/{number}",
        near=near,
        error=error,
        chosen=move,
        framework=framework,
    )
