"""Questions to the user before a call changes anything, asked through the client.

A client of an earlier revision answers a request of the server while the call waits. Since
2026-07-28, the call ends with the question, and the client repeats it with the answer; what the
user has allowed before travels in the call's state.
"""

from __future__ import annotations

import hashlib
import json
from asyncio import CancelledError
from collections.abc import Callable

import anyio.from_thread
from mcp import types
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from harness.errors import Interrupted, NotAllowed

Confirm = Callable[[str], bool]
FORM: dict[str, object] = {"type": "object", "properties": {}}
"""A form without fields: to accept it is to allow what the question names."""


class Unanswered(NotAllowed):
    """The user has to answer a question before the call is repeated."""

    def __init__(self, question: str, allowed: frozenset[str]) -> None:
        super().__init__(question)
        self.question, self.allowed = question, allowed

    def as_result(self) -> types.InputRequiredResult:
        """Return the result that lets the client ask."""
        asks = types.ElicitRequest(params=_form(self.question))
        return types.InputRequiredResult(
            input_requests={_key(self.question): asks},
            request_state=json.dumps(sorted(self.allowed)),
        )


def confirm_of(session: ServerSession, params: types.InputResponseRequestParams) -> Confirm:
    """Return a function that asks the user, to be called in the thread of a call.

    It raises NotAllowed if the client cannot ask.
    """
    capabilities = session.client_capabilities
    forms = capabilities.elicitation if capabilities else None
    if forms is None or (forms.form is None and forms.url is not None):
        return _refuse
    if session.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return _answered(params)
    return lambda question: _ask_now(session, question)


def _refuse(question: str) -> bool:
    raise NotAllowed(
        f"{question} This client cannot ask the user",
        hint="A server that is started as `agent.py --yes mcp` does not ask.",
    )


def _answered(params: types.InputResponseRequestParams) -> Confirm:
    """Return a function that looks a question up among the answers that came with the call."""
    answers = params.input_responses or {}
    accepted = {key for key, answer in answers.items() if _accepts(answer)}
    allowed = frozenset(accepted | _earlier(params.request_state))

    def confirm(question: str) -> bool:
        key = _key(question)
        if key not in allowed and key not in answers:
            raise Unanswered(question, allowed)
        return key in allowed

    return confirm


def _ask_now(session: ServerSession, question: str) -> bool:
    try:
        answer = anyio.from_thread.run(session.elicit_form, question, dict(FORM))
    except MCPError as exc:
        raise NotAllowed(f"the client could not ask the user: {exc}") from exc
    except CancelledError as exc:  # the call was cancelled, or the client is gone
        raise Interrupted("interrupted") from exc
    return _accepts(answer)


def _accepts(answer: object) -> bool:
    return isinstance(answer, types.ElicitResult) and answer.action == "accept"


def _earlier(state: str | None) -> set[str]:
    """Return the questions that were allowed before: the client keeps what it was given."""
    try:
        keys = json.loads(state or "[]")
    except ValueError:
        return set()
    return {key for key in keys if isinstance(key, str)} if isinstance(keys, list) else set()


def _form(question: str) -> types.ElicitRequestFormParams:
    return types.ElicitRequestFormParams(message=question, requested_schema=dict(FORM))


def _key(question: str) -> str:
    """Return the key of a question: its answer holds for no other one."""
    return hashlib.sha256(question.encode(errors="replace")).hexdigest()[:16]
