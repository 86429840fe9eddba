"""Annotate one paper: send the request, repair an unusable reply, and check the moves."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness._version import __version__
from harness.errors import InputError, InvalidReply, ModelUnavailable
from harness.models.backend import OnText, Reply, Request
from harness.models.registry import ModelEntry
from harness.models.served import ServedModel
from harness.support.text_input import regular_file
from skills.corpus.options import Wording
from skills.corpus.records import key_of, record_of
from skills.corpus.table import open_table
from skills.nanda.forms import Example, Form, UnusableReply
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper
from skills.nanda.quotes import QuotesForm
from skills.reader import choice

QUOTES = "it only quotes, and --wording abstractive needs a model that writes"
WRITES = (
    "it only writes its own words, and --wording extractive needs a model that quotes, such as "
    "nanda-annotator"
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The request for the annotation of a paper by a model.

    Attributes:
        form: the reply format.
        provenance: the part of the provenance that is known before the request is sent, including
            the content key.
    """

    paper: Paper
    form: Form
    request: Request
    provenance: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The content key (see `skills.corpus.records`)."""
        return str(self.provenance["key"])


@dataclass(frozen=True)
class Annotator:
    """Annotates papers with one model, and does not store the annotations.

    Attributes:
        max_tokens: maximum number of tokens of a reply; None for the length of a full annotation.
        wanted: the requested wording; None for the wording of the model.
    """

    model: ServedModel
    framework: Framework
    max_tokens: int | None = None
    wanted: Wording | None = None

    @functools.cached_property
    def form(self) -> Form:
        """The reply format of the model, with the examples that the registry entry names.

        Raises:
            InputError: the examples cannot be used.
        """
        entry = self.model.entry
        return form_named(entry.form)(self.framework, examples_for(entry, self.framework))

    @property
    def wording(self) -> Wording:
        """The wording of the model's annotations: "extractive" or "abstractive".

        Raises:
            ModelUnavailable: the model cannot annotate in the requested wording.
        """
        own: Wording = "extractive" if quotes(self.model) else "abstractive"
        if self.wanted not in (own, None):
            raise ModelUnavailable(QUOTES if quotes(self.model) else WRITES)
        return own

    @functools.cached_property
    def _decoding(self) -> Mapping[str, Any] | None:
        """The settings for selecting passages; None for a model that writes the moves.

        Content keys include the settings, since the settings affect the moves.

        Raises:
            ModelUnavailable: the model was trained on the moves of another framework, or cannot
                annotate in the requested wording. A fallback is then tried.
        """
        if self.wording == "abstractive":
            return None
        if self.model.digests.get("framework") not in (None, self.framework.digest):
            raise ModelUnavailable("it was trained on the moves of another framework")
        return {"version": choice.VERSION, "wording": "extractive"}

    def prepare(self, paper: Paper) -> Prepared:
        """Return the request for the annotation of a paper, with provenance and content key.

        The provenance has the facts that are needed to compare and repeat annotations. Its first
        keys are the keys of `ServedModel.about`. "prompt_sha256" is the SHA-256 of the canonical
        JSON of the messages after `Form.hashed`. "schema_sha256" is the SHA-256 of the constraint
        of the reply (the settings for selecting passages, the JSON Schema or the grammar), or None
        if there is no constraint.

        Raises:
            ModelUnavailable: the model was trained on the moves of another framework, or cannot
                annotate in the requested wording.
            InputError: the examples that the registry entry names cannot be used.
        """
        form, decoding = self.form, self._decoding
        request = form.request(paper, self.model, self.max_tokens)
        messages = [{"role": m.role, "content": form.hashed(m.content)} for m in request.messages]
        constraint = decoding or request.json_schema or request.grammar
        provenance = {
            **self.model.about,
            "form": form.name,
            "framework": self.framework.identity,
            "prompt_sha256": sha256_of(messages),
            "schema_sha256": sha256_of(constraint) if constraint else None,
            "decoding": decoding,
            "sampling": {
                "temperature": request.temperature,
                "seed": request.seed,
                "max_tokens": request.max_tokens,
            },
            "harness": __version__,
            "input": paper.input,
        }
        return Prepared(paper, form, request, {**provenance, "key": key_of(provenance)})

    def annotate(self, prepared: Prepared, on_text: OnText | None = None) -> dict[str, Any]:
        """Return the annotation of a paper in stored form, with moves from the paper's sections.

        Args:
            on_text: called with each piece of generated text, to show progress.

        Raises:
            InvalidReply: no reply was usable; `raw` is the last reply.
            HarnessError: `ServedModel.generate` failed.
        """
        replies = list[Reply]()
        record = stored_form(prepared, self._moves(prepared, replies, on_text), replies)
        if not prepared.paper.sections:
            return record
        from skills.annotate.section_moves import with_sections  # only for --sections

        return with_sections(self, prepared, record, on_text)

    def _moves(
        self, prepared: Prepared, replies: list[Reply], on_text: OnText | None
    ) -> dict[str, str]:
        """Return the moves after at most one repair request; append each reply to `replies`.

        Raises:
            InvalidReply: no reply was usable.
        """
        form, request = prepared.form, prepared.request
        replies.append(self.model.generate(request, on_text))
        try:
            return _read(prepared, replies[0])
        except UnusableReply as exc:
            problem = str(exc)
            repair = form.repair(request, replies[0].text, problem)
            if repair is None:
                raise self._invalid(problem, replies[0].text) from exc
        # There is only one repair, since each unusable reply would make the next request longer.
        try:
            replies.append(self.model.generate(repair, on_text))
            return _read(prepared, replies[1])
        except UnusableReply as exc:
            raise self._invalid(f"{exc}", replies[1].text, ", not even after one repair") from exc
        except InputError as exc:  # the repair request exceeds the context
            raise self._invalid(problem, replies[0].text) from exc

    def _invalid(self, problem: str, raw: str, repaired: str = "") -> InvalidReply:
        return InvalidReply(
            f"{self.model.resolution.resolved} gave no usable annotation{repaired}: {problem}",
            raw=raw,
            hint="`--model NAME` selects another model; `/models` lists them.",
        )


def quotes(model: ServedModel) -> bool:
    """Return True if a model selects passages; the annotations then have confidences."""
    return model.entry.form == QuotesForm.name


def form_named(name: str) -> type[Form]:
    """Return the class of a reply format: `json`, `quotes` or `tagged`."""
    if name == QuotesForm.name:
        return QuotesForm
    from skills.nanda.generated_forms import JsonForm, TaggedForm

    return {"json": JsonForm, "tagged": TaggedForm}[name]


def examples_for(entry: ModelEntry, framework: Framework) -> tuple[Example, ...]:
    """Return the examples in the table that a registry entry names; () if it names no table.

    Raises:
        InputError: the table cannot be read, has no rows, or a row lacks an abstract or a move.
    """
    if entry.examples_path is None:
        return ()
    table = open_table(regular_file(entry.examples_path), moves=framework.names)
    table.require_moves()
    found = []
    for row in table.rows():
        moves = row.valid_moves(framework)
        if not row.paper.abstract:
            raise InputError("has no abstract", where=row.where)
        found.append(Example(row.paper.abstract, moves))
    if not found:
        raise InputError("has no example", where=str(table.path))
    return tuple(found)


def _read(prepared: Prepared, reply: Reply) -> dict[str, str]:
    """Return the text of each move in a reply, by the name of the move.

    Raises:
        UnusableReply: `Form.read` refuses the reply, or the moves are repetitive or invented.
    """
    form, abstract = prepared.form, prepared.paper.abstract
    moves = form.read(reply, abstract)
    if problem := form.problem_of(form.framework.stated(moves), abstract):
        raise UnusableReply(problem)
    return moves


def stored_form(
    prepared: Prepared, moves: Mapping[str, str], replies: Sequence[Reply], **provenance: Any
) -> dict[str, Any]:
    """Return an annotation in the stored form (`record_of`).

    The number of replies, their tokens and seconds, and the current time are added to the
    provenance of the request.

    Args:
        replies: all replies to the request; the moves come from the last reply.
        provenance: further keys of the provenance.
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
    form, paper, answer = prepared.form, prepared.paper, replies[-1].text
    anchors = form.anchors(answer, paper.abstract, form.framework.stated(moves))
    confidence, suggestions = form.confidence(answer), form.suggestions(answer)
    return record_of(
        paper, moves, form.framework, made, anchors, confidence, suggestions=suggestions
    )
