"""Annotate one paper: request, validate, repair once, check, and record the provenance.

Nothing here reads or writes anything but the model, so that a job can call it for every row of a
table: `prepare` makes the request and its content key, `annotate` sends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from harness._version import __version__
from harness.errors import InputError, InvalidReply, UsageError
from harness.models.backends.base import OnText, Reply, Request
from harness.models.served import ServedModel
from skills.annotate.anchored.decoder import Decoder
from skills.annotate.anchored.quote import decoding, quote
from skills.annotate.examples import examples_for
from skills.corpus.content_key import key_of
from skills.corpus.options import Effort
from skills.corpus.records import record_of
from skills.nanda.forms import FORMS
from skills.nanda.forms.anchored import AnchoredForm
from skills.nanda.forms.base import Form, UnusableReply
from skills.nanda.framework import Framework, problems, sha256_of
from skills.nanda.paper import Paper


def gives_confidence(model: ServedModel) -> bool:
    """Return True if it quotes move by move, and states how probable the sentences are."""
    return FORMS[model.entry.form] is AnchoredForm and model.takes_grammar


@dataclass(frozen=True, slots=True)
class Prepared:
    """The request for a paper to one model.

    Attributes:
        provenance: what is known before the request is sent (`_provenance`), with the key.
    """

    paper: Paper
    form: Form
    request: Request
    provenance: Mapping[str, Any]
    effort: Effort = "fast"

    @property
    def key(self) -> str:
        """The content key (`skills.corpus.content_key`): equal for equal work."""
        return str(self.provenance["key"])


def prepare(
    paper: Paper,
    framework: Framework,
    model: ServedModel,
    max_tokens: int | None = None,
    effort: Effort = "fast",
) -> Prepared:
    """Make the request for `paper`.

    Args:
        max_tokens: the limit of completion tokens, instead of the size of a full annotation.

    Raises:
        UsageError: the model cannot choose among candidates, which `effort` requires.
        InputError: the examples of the model's registry entry cannot be used.
    """
    form = FORMS[model.entry.form](framework, examples_for(model.entry, framework))
    request, steps = form.request(paper, model, max_tokens), None
    if gives_confidence(model):
        steps = decoding(framework, effort)
    elif effort == "best":
        name = model.resolution.resolved
        raise UsageError(
            f"--effort best needs an embedded model that quotes, and {name} is not one",
            hint="Omit it, or name another model with `--model NAME`.",
        )
    provenance = _provenance(paper, form, request, model, steps)
    key = {"key": key_of(provenance)}
    return Prepared(paper, form, request, {**provenance, **key}, effort)


def annotate(
    prepared: Prepared, model: ServedModel, on_text: OnText | None = None
) -> dict[str, Any]:
    """Generate the moves of a prepared paper, and return them in their stored form.

    Args:
        on_text: receives the text as it is generated, for progress only.

    Raises:
        InvalidReply: no usable answer, not even after one repair; `raw` is the last one.
        Whatever `ServedModel.generate` raises.
    """
    if gives_confidence(model):
        return _quoted(prepared, model, on_text)
    form, request, paper = prepared.form, prepared.request, prepared.paper
    replies = [model.generate(request, on_text)]
    try:
        return stored_form(prepared, read_moves(form, replies[0], paper), replies)
    except UnusableReply as exc:
        problem = str(exc)
    # The repair shows this answer alone: a growing history would cost tokens and context.
    repair = form.repair(request, replies[0].text, problem)
    try:
        replies.append(model.generate(repair, on_text))
        return stored_form(prepared, read_moves(form, replies[1], paper), replies)
    except UnusableReply as exc:
        raise _invalid(model, str(exc), replies[1].text, ", not even after one repair") from exc
    except InputError as exc:  # the answer is so long that the repair does not fit the context
        raise _invalid(model, problem, replies[0].text) from exc


def _quoted(prepared: Prepared, model: ServedModel, on_text: OnText | None) -> dict[str, Any]:
    """Generate the moves one by one, and return them in their stored form."""
    form, paper = AnchoredForm(prepared.form.framework), prepared.paper
    decoder = Decoder(form, form.numbered(paper.abstract), model, prepared.request, on_text)
    try:
        quoted = quote(decoder, prepared.effort)
        moves = read_moves(form, quoted.reply, paper)
    except UnusableReply as exc:  # a repair would begin with the same steps
        raise _invalid(model, str(exc), decoder.answer) from exc
    return stored_form(prepared, moves, [quoted.reply], quoted.confidence)


def read_moves(form: Form, reply: Reply, paper: Paper) -> dict[str, str]:
    """Return all moves of an answer, normalized and in the framework's order.

    Raises:
        UnusableReply: it was cut off, has another form, or a move is missing, empty or too long.
    """
    if reply.finish_reason == "length":
        raise UnusableReply(f"it was cut off after {reply.completion_tokens} tokens")
    found = form.moves(reply.text, paper.abstract)
    try:
        return form.framework.annotation_model().model_validate(found).model_dump()
    except ValidationError as exc:
        raise UnusableReply(problems(exc)) from exc


def stored_form(
    prepared: Prepared,
    moves: Mapping[str, str],
    replies: Sequence[Reply],
    confidence: Mapping[str, float] | None = None,
    **provenance: Any,
) -> dict[str, Any]:
    """Return the stored form of an annotation (`record_of`), with the anchors of the last reply.

    Its provenance is that of the request, then attempts, tokens and seconds of all replies, and
    created.

    Args:
        confidence: of each move, the estimated probability that its sentence is right.
        provenance: further entries.
    """
    made = {
        **prepared.provenance,
        **provenance,
        "attempts": len(replies),
        "tokens": {
            "prompt": sum(reply.prompt_tokens for reply in replies),
            "cached": sum(reply.cached_tokens for reply in replies),
            "completion": sum(reply.completion_tokens for reply in replies),
        },
        "seconds": round(sum(reply.seconds for reply in replies), 3),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    form, paper = prepared.form, prepared.paper
    stated = form.framework.stated(moves)
    anchors = form.anchors(replies[-1].text, paper.abstract, stated)
    return record_of(paper, moves, form.framework, made, anchors, confidence)


def _invalid(model: ServedModel, problem: str, raw: str, repaired: str = "") -> InvalidReply:
    return InvalidReply(
        f"{model.resolution.resolved} gave no usable annotation{repaired}: {problem}",
        raw=raw,
        hint="`--model NAME` selects another model; `/models` lists them.",
    )


def _provenance(
    paper: Paper,
    form: Form,
    request: Request,
    model: ServedModel,
    steps: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what identifies a request: enough to compare annotations and to repeat them.

    It begins with `ServedModel.about`. prompt_sha256 is the SHA-256 of the canonical JSON of the
    first request's messages, schema_sha256 that of its JSON Schema or grammar, or of decoding (null
    without one).

    Args:
        steps: the settings of an answer that is generated move by move, stored as decoding.
    """
    framework = form.framework
    messages = [{"role": m.role, "content": m.content} for m in request.messages]
    constraint = steps or request.json_schema or request.grammar
    return {
        **model.about,
        "form": form.name,
        "framework": framework.identity,
        "prompt_sha256": sha256_of(messages),
        "schema_sha256": sha256_of(constraint) if constraint else None,
        "decoding": steps,
        "sampling": {
            "temperature": request.temperature,
            "seed": request.seed,
            "max_tokens": request.max_tokens,
        },
        "harness": __version__,
        "input": {**paper.source, "sha256": paper.sha256},
    }
