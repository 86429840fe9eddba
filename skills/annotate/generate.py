"""One paper, one annotation: ask, validate, repair once, check, and say where it comes from.

Nothing here reads or writes anything but the model, so that a job can do it for every row of a
table: `prepare` says what would be asked, and under which key, and `annotate` asks it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from harness._version import __version__
from harness.errors import InputError, InvalidReply
from harness.models.backends.base import OnText, Reply, Request
from harness.models.pool import ServedModel
from skills.annotate.examples import examples_for
from skills.corpus.content_key import key_of
from skills.nanda.checks import check
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.nanda.reply_formats import FORMS, Form, UnusableReply


@dataclass(slots=True)
class _Spent:
    """What all attempts took together."""

    attempts: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    seconds: float = 0.0

    def add(self, reply: Reply) -> Reply:
        self.attempts += 1
        self.prompt += reply.prompt_tokens
        self.cached += reply.cached_tokens
        self.completion += reply.completion_tokens
        self.seconds += reply.seconds
        return reply

    @property
    def tokens(self) -> dict[str, int]:
        return {"prompt": self.prompt, "cached": self.cached, "completion": self.completion}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A paper's request to one model, ready to be sent.

    Attributes:
        provenance: what can be said before it is sent (`_provenance`), `key` included.
    """

    paper: Paper
    form: Form
    request: Request
    provenance: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The content key (`skills.corpus.content_key`): equal for equal work."""
        return str(self.provenance["key"])


def prepare(
    paper: Paper, framework: Framework, model: ServedModel, max_tokens: int | None = None
) -> Prepared:
    """Make the request for `paper`.

    Args:
        max_tokens: completion tokens at most, instead of what a full annotation can need.

    Raises:
        InputError: the examples of the model's entry cannot be used.
    """
    form = FORMS[model.entry.form](framework, examples_for(model.entry, framework))
    request = form.request(paper, model, max_tokens)
    provenance = _provenance(paper, form, request, model)
    return Prepared(paper, form, request, {**provenance, "key": key_of(provenance)})


def annotate(
    prepared: Prepared, model: ServedModel, on_text: OnText | None = None
) -> dict[str, Any]:
    """Ask for the moves of a prepared paper.

    Args:
        on_text: handed the answers as they come; only good for showing that something comes.

    Returns:
        The stored form, ready for JSON: the id under `paper.id_field`, title, the moves in order,
        checks (`checks.check`) and provenance: `Prepared.provenance`, and attempts, tokens and
        seconds of all of them, and created.

    Raises:
        InvalidReply: no usable answer, not even after one repair; `raw` is the last one.
        Whatever `ServedModel.generate` raises.
    """
    paper, form = prepared.paper, prepared.form
    moves, spent = _ask(form, prepared.request, model, on_text)
    return {
        paper.id_field: paper.id,
        "title": paper.title,
        **moves,
        "checks": check(paper.abstract, form.framework.stated(moves)),
        "provenance": {
            **prepared.provenance,
            "attempts": spent.attempts,
            "tokens": spent.tokens,
            "seconds": round(spent.seconds, 3),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def read_moves(form: Form, reply: Reply) -> dict[str, str]:
    """All moves of an answer, tidied and in the framework's order.

    Raises:
        UnusableReply: it was cut off, has another form, or a move is missing, empty or too long.
    """
    if reply.finish_reason == "length":
        raise UnusableReply(f"it was cut off after {reply.completion_tokens} tokens")
    found = form.parse(reply.text)
    try:
        annotation = form.framework.annotation_model().model_validate(found)
    except ValidationError as exc:
        raise UnusableReply("; ".join(map(_in_words, exc.errors()))) from exc
    moves = annotation.model_dump()
    return {name: moves[name] for name in form.framework.names}


def _ask(
    form: Form, request: Request, model: ServedModel, on_text: OnText | None
) -> tuple[dict[str, str], _Spent]:
    """The moves, from the first answer or from one repair of it, and what both took."""
    spent = _Spent()
    reply = spent.add(model.generate(request, on_text))
    try:
        return read_moves(form, reply), spent
    except UnusableReply as exc:
        problem = str(exc)
    # Only this answer is shown again: a growing history would cost tokens and context.
    repair = form.repair(request, reply.text, problem)
    try:
        reply = spent.add(model.generate(repair, on_text))
        return read_moves(form, reply), spent
    except UnusableReply as exc:
        raise _invalid(model, str(exc), reply) from exc
    except InputError as exc:  # the answer was so long that the repair does not fit the context
        raise _invalid(model, problem, reply) from exc


def _invalid(model: ServedModel, problem: str, reply: Reply) -> InvalidReply:
    return InvalidReply(
        f"{model.resolution.resolved} gave no usable annotation, not even after one repair: "
        f"{problem}",
        raw=reply.text,
        hint="`--model NAME` asks another model; `/models` lists them.",
    )


def _provenance(paper: Paper, form: Form, request: Request, model: ServedModel) -> dict[str, Any]:
    """Where an annotation comes from: all that is needed to tell it from another, or to repeat it.

    requested and resolved are model ids, and reason says why they differ, or is null. digests are
    the sha256 of the model's files. prompt_sha256 is of the canonical JSON of the first request's
    messages, schema_sha256 of the JSON Schema or grammar it was held to (null: of none).
    """
    resolution, serve = model.resolution, model.resolution.chosen.serve
    framework = form.framework
    messages = [{"role": m.role, "content": m.content} for m in request.messages]
    held_to = request.json_schema or request.grammar
    return {
        "requested": resolution.requested,
        "resolved": resolution.resolved,
        "reason": resolution.reason or None,
        "backend": serve.backend,
        "where": serve.where,
        "digests": dict(model.digests),
        "form": form.name,
        "framework": {
            "name": framework.name,
            "version": framework.version,
            "digest": framework.digest,
        },
        "prompt_sha256": sha256_of(messages),
        "schema_sha256": sha256_of(held_to) if held_to else None,
        "sampling": {
            "temperature": request.temperature,
            "seed": request.seed,
            "max_tokens": request.max_tokens,
        },
        "harness": __version__,
        "input": {**paper.source, "sha256": paper.sha256},
    }


def _in_words(error: Mapping[str, Any]) -> str:
    """One complaint of pydantic, as a model and a reader of the log understand it."""
    key = ".".join(map(str, error["loc"]))
    words = {
        "missing": "is missing",
        "extra_forbidden": "is no move",
        "string_type": "is not a string",
        "string_too_short": "is empty",
        "string_too_long": f"is longer than {error.get('ctx', {}).get('max_length')} characters",
    }
    return f"{key[:60]} {words.get(error['type'], error['msg'])}"
