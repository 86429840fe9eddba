"""A model that is loaded on the nodes of a cluster, as the job in this process uses it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.errors import ClusterUnavailable, GenerationFailed, HarnessError
from harness.models.backends.base import OnText, Reply, Request
from harness.models.backends.generation import GenerationState
from harness.models.cluster.actors import Actor, Actors
from harness.models.cluster.node import Report
from harness.models.cluster.rates import Rates
from harness.models.cluster.waiting import last_line, result

COUNT_SECONDS = 60.0
"""Time limit for counting the tokens of a prompt."""
GRACE = 10.0
"""Seconds beyond a request's deadline, which the actor keeps itself, until it counts as lost."""


class ClusterModel:
    """One model with the slots of all actors; each generation is a call of one of them.

    The text of a reply arrives as a whole.
    """

    takes_tools = False

    def __init__(self, actors: Actors, report: Report, rates: Rates) -> None:
        self._actors, self._rates = actors, rates
        self._calls = itertools.count()
        self.context = report.context
        self.digests: Mapping[str, str] = report.digests
        self.slots = report.slots * len(actors.all)
        self.place = report.place
        self.takes_grammar = report.takes_grammar
        self.continues_prefill = report.continues_prefill

    def count_tokens(self, request: Request) -> int | None:
        """Return the tokens of the prompt; see `base.Model.count_tokens`."""
        state = GenerationState(replace(request, deadline=COUNT_SECONDS))
        with self._actors.slot(None, state.check) as (actor, _):
            sent = _sendable(request, None)
            submit = actor.handle.count_tokens.remote
            counted = self._answer(actor, lambda: submit(sent), state.check, COUNT_SECONDS)
        return None if counted is None else int(counted)

    def generate(
        self,
        request: Request,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Generate; see `base.Model.generate`.

        Raises:
            GenerationFailed: the actor or its node is lost; another attempt takes another one.
            ClusterUnavailable: all actors are lost, or the cluster is.
        """
        if request.slot is not None and request.slot >= self.slots:
            raise ValueError(f"there is no slot {request.slot}: the model has {self.slots}")
        waiting = GenerationState(replace(request, deadline=float("inf")), cancel)
        with self._actors.slot(request.slot, waiting.check) as (actor, slot):
            sent = _sendable(request, None if request.slot is None else slot)
            number = next(self._calls)
            limited = replace(request, deadline=request.deadline + GRACE)
            state = GenerationState(limited, cancel)
            try:
                reply = self._answer(
                    actor,
                    lambda: actor.handle.generate.remote(number, sent),
                    state.check,
                    float("inf"),
                )
            except BaseException:
                actor.stop(number)
                raise
        assert isinstance(reply, Reply)
        if actor.report is not None:
            self._rates.add(actor.report.node, reply.completion_tokens)
        if on_text is not None:
            on_text(reply.text)
        return reply

    def _answer(
        self, actor: Actor, submit: Callable[[], Any], check: Callable[[], None], seconds: float
    ) -> Any:
        """Return the answer of an actor; errors of the harness are its own, as on one machine."""
        from ray.exceptions import RayError, RayTaskError

        try:
            answer = result(submit().future(), check, seconds)
        except HarnessError:
            raise
        except RayTaskError as exc:
            raise GenerationFailed(f"node {actor.name} failed: {last_line(exc)}") from exc
        except (RayError, TimeoutError) as exc:
            self._actors.lose(actor)
            raise GenerationFailed(
                f"the actor on node {actor.name} was lost", hint="Another one takes the work."
            ) from exc
        except Exception as exc:  # of the connection: grpc and Ray's client have many
            raise ClusterUnavailable(
                f"the connection was lost: {last_line(exc)}",
                hint="The same line continues the job when the cluster is back.",
            ) from exc
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Stop the actors; may be called twice."""
        self._actors.close()


def _sendable(request: Request, slot: int | None) -> Request:
    """Return the request as a node gets it."""
    return replace(request, slot=slot, without_tools=None)
