"""The pages of a review: the queue, a paper, disagreements, and the agreement of reviewers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from harness.errors import HarnessError
from skills.curate.review.disagreement import (
    Dispute,
    agreement,
    decided_by_each,
    dispute_at,
    outline,
    passage_agreement,
    rated,
)
from skills.nanda.marked_sentences import marked
from skills.serve.pages import State, fields_of, message, page
from skills.serve.review_participants import (
    NameInUse,
    Participant,
    Participants,
    perform,
    save_draft,
)

PATH = "/review"
TAB = (PATH, "Review")
CHOICE: dict[str, str] = dict.fromkeys(("name", "words", "where", "sample", "seed", "order"), "")
Handler = Callable[[Participant, "Request"], Response]
DISPUTES = "/review/disputes"
OWN = "own"
"""The value of a form field `choice-MOVE` that selects the text in the field `text-MOVE`."""


def routes(state: State) -> list[Route]:
    participants = Participants(state)
    queue = partial(_queue, state, participants)

    def joined(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(PATH + path, partial(_as_participant, participants, handler), methods=[method])

    return [
        Route(PATH, queue),
        Route(PATH, partial(_enter, queue, participants), methods=["POST"]),
        joined("/next", _next),
        joined("/paper", _paper),
        joined("/paper", _act, "POST"),
        joined("/undo", _undo, "POST"),
        joined("/again", _again, "POST"),
        joined("/draft", _draft, "POST"),
        Route(PATH + "/agreement", partial(_agreement, participants)),
        Route(DISPUTES, partial(_disputes, participants)),
        joined("/dispute", _shown_dispute),
        joined("/dispute", _settle, "POST"),
    ]


def _as_participant(participants: Participants, handler: Handler, request: Request) -> Response:
    """Return the response of a handler for the participant in the browser.

    For a browser without a participant, the response is a redirect or an error (`_not_joined`). The
    requests of one browser are handled one after another.
    """
    participant = participants.find(request)
    if participant is None:
        return _not_joined(participants, request)
    with participant.lock:
        participant.used = time.monotonic()
        participant.desk.log.refresh()
        return handler(participant, request)


def _not_joined(participants: Participants, request: Request) -> Response:
    """Return the response for a browser that does not take part in the review.

    For an action, or for a browser whose name another browser has taken over, the response is a
    page that explains how to join. Otherwise, the response is a redirect to the form for joining.
    """
    lost, is_act = participants.lost(request), request.method == "POST"
    if not (lost or is_act):
        wanted = request.query_params.get("id") if request.url.path == f"{PATH}/paper" else None
        words = f"?{urlencode({'words': wanted}, errors='replace')}" if wanted else ""
        return RedirectResponse(PATH + words, HTTPStatus.SEE_OTHER)
    title = f"{lost} continues in another browser" if lost else "This browser has no name yet"
    text = "Your last action was not stored. " * is_act
    text += "Join the review in the tab Review, under any name."
    return message(request, title, text, HTTPStatus.CONFLICT)


def _queue(
    state: State,
    participants: Participants,
    request: Request,
    choice: dict[str, str] | None = None,
    error: HarnessError | None = None,
) -> Response:
    """Return the page with the progress of the review, and the form for joining the review.

    Args:
        choice: the values that were entered in the form; None for the values of the participant in
            this browser, which URL parameters override.
        error: the error that prevented joining, or None.
    """
    participant = participants.find(request)
    before = participant.choice if participant else {**CHOICE, "name": participants.lost(request)}
    linked = {name: one for name, one in request.query_params.items() if name in CHOICE}
    with participants.overview() as desk:
        return page(
            request,
            "review/queue.html",
            HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
            title="Review",
            state=state,
            desk=desk,
            holders=sorted({name for names in desk.leases.holders().values() for name in names}),
            participant=participant,
            choice=choice or {**before, **linked},
            in_use=isinstance(error, NameInUse),
            error="" if error is None else f"{error}",
        )


def _enter(
    queue: Callable[..., Response], participants: Participants, request: Request
) -> Response:
    given = fields_of(request)
    choice = {name: given.get(name, "") for name in CHOICE}
    try:
        participants.join(request, choice, take_over=given.get("take_over") == choice["name"])
    except HarnessError as exc:
        return queue(request, choice, exc)
    return RedirectResponse(PATH + "/next", HTTPStatus.SEE_OTHER)


def _next(participant: Participant, request: Request) -> Response:
    """Return a redirect to the next paper to review, or the page for the end of the queue.

    The search begins after the paper in the URL parameter `after`, unless `Desk.teaches` is True.
    """
    desk = participant.desk
    after = desk.papers.places.get(request.query_params.get("after", ""), -1)
    at = desk.next(after + 1)
    if at is not None:
        return _to_paper(desk.papers[at].key)
    return page(
        request,
        "review/end.html",
        title="No paper is left",
        desk=desk,
        notice=_notice(participant),
        **_right(participant),
    )


def _paper(participant: Participant, request: Request) -> Response:
    at = participant.desk.papers.places.get(request.query_params.get("id", ""))
    if at is None:
        return _no_paper(request)
    try:
        participant.desk.take(at)
    except HarnessError as exc:
        return _passed_on(request, f"{exc}")
    return _shown(participant, request, at)


def _shown(participant: Participant, request: Request, at: int, error: str = "") -> Response:
    desk = participant.desk
    item = desk.papers[at]
    move = request.query_params.get("move", "")
    return page(
        request,
        "review/paper.html",
        HTTPStatus.CONFLICT if error else HTTPStatus.OK,
        title=item.paper.title or f"Paper {item.paper.id}",
        desk=desk,
        item=item,
        at=at,
        chosen=move if move in desk.framework.names else desk.framework.names[0],
        notice=_notice(participant),
        error=error,
        **_right(participant),
    )


def _act(participant: Participant, request: Request) -> Response:
    fields = fields_of(request)
    at = participant.desk.papers.places.get(fields.get("id", ""))
    if at is None:
        return _no_paper(request)
    try:
        is_done = perform(participant, at, fields)
    except HarnessError as exc:
        try:
            participant.desk.take(at)
        except HarnessError as taken:
            return _passed_on(request, f"{taken}")
        if fields.get("act") == "edit":  # so that the page shows the entered text
            save_draft(participant.desk, at, fields)
        return _shown(participant, request, at, f"{exc}")
    if is_done:
        after = urlencode({"after": fields["id"]})
        return RedirectResponse(f"{PATH}/next?{after}", HTTPStatus.SEE_OTHER)
    return _to_paper(fields["id"], fields["move"])


def _undo(participant: Participant, request: Request) -> Response:
    undone = participant.desk.undo()
    if undone is None:
        participant.notice = "There is no decision to undo."
        return RedirectResponse(PATH + "/next", HTTPStatus.SEE_OTHER)
    at, decision = undone
    participant.notice = f"Undone: {decision.paper.id} is no longer {decision.what}ed."
    if decision.resolves:
        return RedirectResponse(DISPUTES, HTTPStatus.SEE_OTHER)
    return _to_paper(participant.desk.papers[at].key)


def _again(participant: Participant, request: Request) -> Response:
    """Put the skipped papers back into the queue, and return a redirect to the next paper."""
    participant.desk.skipped.clear()
    return RedirectResponse(PATH + "/next", HTTPStatus.SEE_OTHER)


def _draft(participant: Participant, request: Request) -> Response:
    fields = fields_of(request)
    at = participant.desk.papers.places.get(fields.get("id", ""))
    if at is None:
        return Response(status_code=HTTPStatus.NOT_FOUND)
    save_draft(participant.desk, at, fields)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _agreement(participants: Participants, request: Request) -> Response:
    with participants.overview() as desk:
        decided = rated(desk.papers, desk.log)
        return page(
            request,
            "review/agreement.html",
            title="Agreement",
            papers=len(decided),
            reviewers=sorted({name or "(no name)" for one in decided for name in one}),
            counts=desk.counts(),
            rows=agreement(decided, desk.framework),
            passages=passage_agreement(desk.papers, desk.log, desk.framework),
        )


def _to_paper(key: str, move: str = "") -> Response:
    query = urlencode({"id": key, **({"move": move} if move else {})}, errors="replace")
    return RedirectResponse(f"{PATH}/paper?{query}", HTTPStatus.SEE_OTHER)


def _notice(participant: Participant) -> str:
    """Return the notice about the last action, and delete it from the participant."""
    notice, participant.notice = participant.notice, ""
    return notice


def _right(participant: Participant) -> dict[str, Any]:
    """Return the template variables for the share of right moves in all complete rounds.

    `is_new` is True if the share covers more papers than on the last page that showed the share.
    """
    right = participant.desk.right_so_far()
    before, participant.papers = participant.papers, right.papers if right else 0
    return {"right": right, "is_new": participant.papers > before}


def _no_paper(request: Request) -> Response:
    text = "The queue does not contain this paper. The tab Review shows the queue."
    return message(request, "No such paper", text)


def _passed_on(request: Request, why: str) -> Response:
    return page(
        request, "review/passed.html", HTTPStatus.CONFLICT, title="Another paper is next", why=why
    )


def _disputes(participants: Participants, request: Request) -> Response:
    """Return the page that lists the papers on which the reviewers disagree."""
    with participants.overview() as desk:
        rows = [
            (
                item.paper,
                f"/review/dispute?{urlencode({'id': item.key}, errors='replace')}",
                [outline(one) for one in decided_by_each(desk, item)],
            )
            for item in map(desk.papers.__getitem__, desk.disputed())
        ]
    own = participants.find(request)
    with own.lock if own else nullcontext():
        return page(
            request,
            "review/disputes.html",
            title="Disagreements",
            rows=rows,
            desk=own and own.desk,
            notice=_notice(own) if own else "",
        )


def _settle(participant: Participant, request: Request) -> Response:
    """Settle a disagreement, and redirect to the list of disagreements.

    After an error, the page of this disagreement is shown again.
    """
    fields = fields_of(request)
    key, desk = fields.get("id", ""), participant.desk
    at, dispute = _found(participant, key)
    if at is None or dispute is None:
        return _settled(request)
    try:
        if fields.get("act") == "reject":
            desk.resolve(at, None, reason=" ".join(fields.get("reason", "").split()))
        else:
            desk.resolve(at, *dispute.settled(_choices(dispute, fields)))
    except HarnessError as exc:
        return _shown_dispute(participant, request, key, f"{exc}", _choices(dispute, fields))
    participant.notice = f"Settled {desk.papers[at].paper.id}."
    return RedirectResponse(DISPUTES, HTTPStatus.SEE_OTHER)


def _shown_dispute(
    participant: Participant,
    request: Request,
    key: str = "",
    error: str = "",
    choices: Mapping[str, str] | None = None,
) -> Response:
    """Return the page with the decisions of the reviewers on a disputed paper.

    Args:
        key: the key of the paper; "" for the URL parameter `id`.
        error: the reason why the entered decision was not stored, or "".
        choices: the chosen texts, by move; None for the stored choices.
    """
    key = key or request.query_params.get("id", "")
    at, dispute = _found(participant, key)
    if at is None or dispute is None:
        return _settled(request)
    paper = participant.desk.papers[at].paper
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
        desk=participant.desk,
        error=error,
    )


def _found(participant: Participant, key: str) -> tuple[int | None, Dispute | None]:
    """Return the index of a paper in the queue, and the disagreement on the paper.

    The index is None for an unknown paper. The disagreement is None if the paper is not disputed.
    """
    at = participant.desk.papers.places.get(key)
    return at, None if at is None else dispute_at(participant.desk, at)


def _choices(dispute: Dispute, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the text that was chosen for each move; moves without a choice are left out."""
    found: dict[str, str] = {}
    for row in dispute.rows:
        name = row.move.name
        texts = {f"{place}": text for place, text in enumerate(row.texts)}
        texts[OWN] = fields.get(f"text-{name}", "")
        if (choice := fields.get(f"choice-{name}")) in texts:
            found[name] = texts[choice]
    return found


def _settled(request: Request) -> Response:
    text = "The reviewers do not disagree on this paper, or the disagreement is settled."
    return message(request, "No disagreement", text)
