"""Disagreements of two reviewers, side by side, and the decision that settles each."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from harness.errors import HarnessError
from skills.curate.review.disagreement import Choice, Dispute, decided_by_each, dispute_at, outline
from skills.nanda.anchors import marked
from skills.serve.pages import fields_of, message, page
from skills.serve.review_seats import Room, Seat

PATH = "/review/disputes"
OWN = "own"
"""The choice of a text that neither reviewer has."""


def listed(room: Room, request: Request) -> Response:
    """List the papers on which reviewers disagree."""
    seat = room.overview()
    with seat.lock:
        desk = seat.desk
        desk.log.refresh()
        items = [desk.papers.items[at] for at in desk.disputed()]
        rows = [
            (
                item.paper,
                f"/review/dispute?{urlencode({'id': item.key}, errors='replace')}",
                [outline(one) for one in decided_by_each(desk, item)],
            )
            for item in items
        ]
    own = room.seat(request)
    notice, can_undo = "", False
    if own is not None:
        with own.lock:
            notice, own.notice = own.notice, ""
            can_undo = own.desk.last() is not None
    return page(
        request,
        "review/disputes.html",
        title="Disagreements",
        rows=rows,
        has_name=own is not None,
        notice=notice,
        can_undo=can_undo,
    )


def shown(seat: Seat, request: Request) -> Response:
    """Show the decisions on a paper side by side."""
    return _shown(seat, request, request.query_params.get("id", ""))


def settle(seat: Seat, request: Request) -> Response:
    """Store the decision that settles a disagreement."""
    fields = fields_of(request)
    key, desk = fields.get("id", ""), seat.desk
    at, dispute = _found(seat, key)
    if at is None or dispute is None:
        return _settled(request)
    try:
        if fields.get("act") == "reject":
            desk.resolve(at, None, reason=" ".join(fields.get("reason", "").split()))
        else:
            desk.resolve(at, *dispute.settled(_choices(dispute, fields)))
    except HarnessError as exc:
        return _shown(seat, request, key, f"{exc}", _choices(dispute, fields))
    seat.notice = f"Settled {desk.papers.items[at].paper.id}."
    return RedirectResponse(PATH, HTTPStatus.SEE_OTHER)


def _shown(
    seat: Seat,
    request: Request,
    key: str,
    error: str = "",
    choices: Mapping[str, Choice] | None = None,
) -> Response:
    at, dispute = _found(seat, key)
    if at is None or dispute is None:
        return _settled(request)
    desk = seat.desk
    paper = desk.papers.items[at].paper
    return page(
        request,
        "review/dispute.html",
        HTTPStatus.CONFLICT if error else HTTPStatus.OK,
        title=paper.title or f"Paper {paper.id}",
        paper=paper,
        key=key,
        sentences=marked(paper.abstract, {}),
        dispute=dispute,
        choices=dispute.choices if choices is None else choices,
        reviewer=desk.reviewer,
        framework=desk.framework,
        error=error,
    )


def _found(seat: Seat, key: str) -> tuple[int | None, Dispute | None]:
    """Return the place of a paper in the queue, and the disagreement about it."""
    at = seat.desk.papers.places.get(key)
    return at, None if at is None else dispute_at(seat.desk, at)


def _choices(dispute: Dispute, fields: Mapping[str, str]) -> dict[str, Choice]:
    """Return what was chosen in the form."""
    places = {f"{place}": place for place in range(len(dispute.decisions))}
    found: dict[str, Choice] = {}
    for name in (row.move.name for row in dispute.rows):
        choice = fields.get(f"choice-{name}", "")
        if choice == OWN:
            found[name] = fields.get(f"text-{name}", "")
        elif choice in places:
            found[name] = places[choice]
    return found


def _settled(request: Request) -> Response:
    text = "Reviewers do not disagree about it, or the disagreement is settled."
    return message(request, HTTPStatus.NOT_FOUND, "No disagreement", text)
