"""The page of the papers whose annotations are nearest to that of one paper."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from harness.errors import InputError, UsageError
from skills.corpus.browsing.selection import complete_soon
from skills.corpus.db.reads import numbered
from skills.corpus.storage.database import Database
from skills.serve.browse.paper import MOST
from skills.serve.browse.view import PATH
from skills.serve.pages import message, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from skills.serve.state import State

SHOWN = 20


def similar_page(state: State, request: Request) -> Response:
    """Show the papers that are nearest to one, by one move or by all."""
    number, move = min(request.path_params["number"], MOST), request.query_params.get("move")
    framework = state.framework
    with state.corpus() as db:
        found = numbered(db, number)
        if found is None:
            text = f"The corpus has no paper {number}."
            return message(request, HTTPStatus.NOT_FOUND, "No such paper", text)
        corpus, error = Database(db, framework), ""
        try:
            complete_soon(corpus)
            chosen = move if move in framework.names else None
            near = corpus.similar(found.paper.id, chosen, SHOWN)
        except (InputError, UsageError) as exc:  # such as the extra that is not installed
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
