"""Annotate one paper: request, validate, repair once, check, and record the provenance.

Nothing here reads or writes anything but the model, so that a job can call it for every row of a
table: `prepare` makes the request and its content key, `annotate` sends it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness._version import __version__
from harness.errors import InputError, InvalidReply, ModelUnavailable
from harness.models.backend import OnText, Reply, Request
from harness.models.registry import ModelEntry
from harness.models.served import ServedModel
from harness.support.text_input import regular_file
from skills.corpus.content_key import key_of
from skills.corpus.options import Wording
from skills.corpus.records import record_of
from skills.corpus.table import open_table
from skills.nanda import checks
from skills.nanda.forms import FORMS, Example, Form, QuotesForm, UnusableReply
from skills.nanda.framework import Framework, sha256_of
from skills.nanda.paper import Paper, Section
from skills.nanda.sentences import split_sentences
from skills.reader import choice


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

    def stating(self, *moves: str) -> Prepared:
        """Return the same work for a text that certainly states some moves."""
        return replace(self, request=self.form.stating(self.request, moves))

    @property
    def key(self) -> str:
        """The content key (`skills.corpus.content_key`): equal for equal work."""
        return str(self.provenance["key"])


def prepare(
    paper: Paper,
    framework: Framework,
    model: ServedModel,
    max_tokens: int | None = None,
    wording: Wording | None = None,
) -> Prepared:
    """Make the request for `paper`.

    Args:
        max_tokens: the limit of completion tokens, instead of the size of a full annotation.
        wording: the one that is wanted.

    Raises:
        ModelUnavailable: raised by `wording.decoding_of`.
        InputError: the examples of the model's registry entry cannot be used.
    """
    form = FORMS[model.entry.form](framework, examples_for(model.entry, framework))
    steps = decoding_of(form, model, wording)
    request = form.request(paper, model, max_tokens)
    provenance = _provenance(paper, form, request, model, steps)
    key = {"key": key_of(provenance)}
    return Prepared(paper, form, request, {**provenance, **key})


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
    replies = list[Reply]()
    moves = _answer(prepared, model, replies, on_text)
    return stored_form(prepared, moves, replies)


def _answer(
    prepared: Prepared, model: ServedModel, replies: list[Reply], on_text: OnText | None
) -> dict[str, str]:
    """Generate the moves, repairing an unusable answer once.

    Args:
        replies: receives each reply.
    """
    form, request = prepared.form, prepared.request
    replies.append(model.generate(request, on_text))
    try:
        return _read(prepared, replies[0])
    except UnusableReply as exc:
        problem = str(exc)
        if isinstance(form, QuotesForm):  # it would select the same passages again
            raise _invalid(model, problem, replies[0].text) from exc
    # The repair shows this answer alone: a growing history would cost tokens and context.
    repair = form.repair(request, replies[0].text, problem)
    try:
        replies.append(model.generate(repair, on_text))
        return _read(prepared, replies[1])
    except UnusableReply as exc:
        raise _invalid(model, str(exc), replies[1].text, ", not even after one repair") from exc
    except InputError as exc:  # the answer is so long that the repair does not fit the context
        raise _invalid(model, problem, replies[0].text) from exc


def _read(prepared: Prepared, reply: Reply) -> dict[str, str]:
    """Return the moves of an answer.

    Raises:
        UnusableReply: raised by `Form.read`, or the moves are not those of the abstract.
    """
    moves = prepared.form.read(reply, prepared.paper.abstract)
    if not isinstance(prepared.form, QuotesForm):
        _check_content(prepared, moves)
    return moves


def _check_content(prepared: Prepared, moves: Mapping[str, str]) -> None:
    """Raise UnusableReply if the moves are all the same, or invented."""
    stated = prepared.form.framework.stated(moves)
    if problem := checks.unusable(prepared.paper.abstract, stated):
        raise UnusableReply(problem)


def stored_form(
    prepared: Prepared, moves: Mapping[str, str], replies: Sequence[Reply], **provenance: Any
) -> dict[str, Any]:
    """Return the stored form of an annotation (`record_of`).

    Its provenance is that of the request, then attempts, tokens and seconds of all replies, and
    created.

    Args:
        replies: the last one has the moves.
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
    form, paper, answer = prepared.form, prepared.paper, replies[-1].text
    anchors = form.anchors(answer, paper.abstract, form.framework.stated(moves))
    confidence, suggestions = form.confidence(answer), form.suggestions(answer)
    return record_of(
        paper, moves, form.framework, made, anchors, confidence, suggestions=suggestions
    )


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
    messages = [{"role": m.role, "content": form.hashed(m.content)} for m in request.messages]
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
        "input": paper.input,
    }


def examples_for(entry: ModelEntry, framework: Framework) -> tuple[Example, ...]:
    """Return the rows of the entry's table of examples, or () if it has none.

    Raises:
        InputError: the table cannot be read, has no row, or a row lacks a move.
    """
    if entry.examples_path is None:
        return ()
    path = regular_file(entry.examples_path)
    return _read_examples(path, path.stat().st_mtime_ns, framework)


@functools.lru_cache(maxsize=8)
def _read_examples(path: Path, _changed: int, framework: Framework) -> tuple[Example, ...]:
    table = open_table(path, moves=framework.names)
    table.require_moves()
    found = []
    for row in table.rows():
        moves = row.valid_moves(framework)
        if not row.paper.abstract:
            raise InputError("has no abstract", where=row.where)
        found.append(Example(row.paper.abstract, moves))
    if not found:
        raise InputError("has no example", where=str(path))
    return tuple(found)


QUOTES = "it only quotes, and --wording abstractive needs a model that writes"
WRITES = (
    "it only writes its own words, and --wording extractive needs a model that quotes, such as "
    "nanda-annotator"
)


def quotes(model: ServedModel) -> bool:
    """Return True if the moves of a model are quotes, which have confidences."""
    return FORMS[model.entry.form] is QuotesForm


def wording_of(model: ServedModel, wording: Wording | None = None) -> Wording:
    """Return the wording of a model's annotations.

    Args:
        wording: the one that is wanted.

    Raises:
        ModelUnavailable: the model has another wording.
    """
    own: Wording = "extractive" if quotes(model) else "abstractive"
    if wording not in (own, None):
        raise ModelUnavailable(QUOTES if quotes(model) else WRITES)
    return own


def decoding_of(
    form: Form, model: ServedModel, wording: Wording | None
) -> Mapping[str, Any] | None:
    """Return what determines the moves besides the request and the model; None if nothing does.

    Raises:
        ModelUnavailable: the model does not have the framework or the wording; the fallback of
            its entry may.
    """
    if wording_of(model, wording) == "abstractive":
        return None
    trained_on = model.digests.get("framework")
    if trained_on not in (None, form.framework.digest):
        raise ModelUnavailable("it was trained on the moves of another framework")
    return {"version": choice.VERSION, "wording": "extractive"}


MOVES: Mapping[str, tuple[str, ...]] = {
    "limitation": ("limitation",),
    "conclusion": ("limitation", "implication"),
}
"""The moves that are looked for in each kind of section."""
MOST_WORDS = 350
"""Words that are read of a section, about those of a long abstract."""

Make = Callable[[Paper], Prepared]


def annotate_paper(
    prepared: Prepared, model: ServedModel, make: Make, on_text: OnText | None = None
) -> dict[str, Any]:
    """Annotate a paper, and look for missing moves in its sections, if it has any.

    Args:
        make: prepares the request for a section, in the form of a paper.

    Raises:
        Whatever `generate.annotate` raises.
    """
    record = annotate(prepared, model, on_text)
    framework = prepared.form.framework
    found: dict[str, Any] = {}
    for section, moves in _wanted(prepared.paper, framework):
        missing = [m for m in moves if record[m] == framework.not_stated and m not in found]
        if missing:
            request = make(_as_paper(section, prepared.paper))
            if section.kind in missing:  # a section on limitations has one
                request = request.stating(section.kind)
            model.check_fits(request.request)
            own = annotate(request, model, on_text)
            found |= {m: _entry(section, own, m) for m in missing if own[m] != framework.not_stated}
            record = {**record, "provenance": _with_cost(record["provenance"], own["provenance"])}
    if not prepared.paper.sections:
        return record
    made = record.pop("provenance")
    return {**record, "sections": found, "provenance": made}


def _wanted(paper: Paper, framework: Framework) -> Iterator[tuple[Section, list[str]]]:
    """Yield the sections, and the moves of the framework that each may have."""
    for kind, moves in MOVES.items():
        for section in paper.sections:
            if section.kind == kind:
                yield section, [move for move in moves if move in framework.names]


def _as_paper(section: Section, paper: Paper) -> Paper:
    """Return the beginning of a section as the abstract of a paper of the same title."""
    kept, words = list[str](), 0
    for sentence in split_sentences(section.text):
        words += len(sentence.split())
        if kept and words > MOST_WORDS:
            break
        kept.append(sentence)
    text = " ".join(" ".join(kept).split()[:MOST_WORDS])
    return replace(paper, abstract=text, sections=())


def _entry(section: Section, own: Mapping[str, Any], move: str) -> dict[str, Any]:
    """Return what is stored of a move that was found in a section."""
    checks = own["checks"]
    unknown = [
        text
        for what in ("numbers", "names")
        for text in checks[f"unsupported_{what}"].get(move, ())
    ]
    return {
        "section": section.heading,
        "page": section.page,
        "text": own[move],
        "source": checks["source"][move]["text"],
        "support": checks["support"][move],
        **({"unsupported": unknown} if unknown else {}),
    }


def _with_cost(provenance: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provenance with the tokens and seconds of another one added."""
    tokens = {name: n + other["tokens"][name] for name, n in provenance["tokens"].items()}
    seconds = round(provenance["seconds"] + other["seconds"], 3)
    return {**provenance, "tokens": tokens, "seconds": seconds}
