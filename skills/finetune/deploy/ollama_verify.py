"""Whether the model that Ollama made is the one that was trained: asked of the server itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from skills.finetune.deploy.modelfile import Modelfile
from skills.finetune.deploy.ollama_api import Ollama
from skills.finetune.formats.gguf_head import GgufHead
from skills.finetune.model.chat_template import render
from skills.nanda.framework import Framework
from skills.nanda.paper import Paper
from skills.nanda.reply_formats import TaggedForm, UnusableReply

ABSTRACT = (
    "Agents that call tools fail in ways their logs do not show. We present Ledger, which records "
    "each call with its inputs and replays a run step by step. In a study with 24 engineers, "
    "faults were found 40% faster than with plain logs. Ledger handles only tools without side "
    "effects. The results suggest that replay should be part of every agent framework."
)
"""Invented; the model is asked about it once."""
SHOWN = 300
"""Characters of an answer that are kept."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the model should be.

    Attributes:
        file_type: how its weights are kept; None where it is not known.
        head: of the GGUF whose template and tokens it has.
        trained_with: sha256 of the chat template of the training rows; None where it is not known.
    """

    model: str
    version: str
    file_type: str | None
    head: GgufHead
    modelfile: Modelfile
    trained_with: str | None


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found, a sentence without its full stop each.

    Attributes:
        problems: what makes it another model than was trained.
        notes: what differs and does no harm.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]


def verify(ollama: Ollama, expected: Expected, framework: Framework) -> Findings:
    """Ask for the model's own account, the prompt it makes, and one annotation.

    Raises:
        HarnessError: the server refuses or breaks off.
    """
    shown = ollama.show(expected.model)
    form = TaggedForm(framework)
    messages = [
        {"role": message.role, "content": message.content}
        for message in form.messages(Paper("id", "", "", ABSTRACT))
    ]
    problems = [*_kept_as(shown, expected), *_parameters(shown, expected), *_said_before(shown)]
    prompt = list(_prompt(ollama, expected, messages))
    notes = [] if prompt else list(_template(shown, expected))
    answer = ollama.chat(expected.model, messages)
    problems += [*prompt, *_answer(answer.text, answer.done_reason, form)]
    facts = {
        "quantization_level": (shown.get("details") or {}).get("quantization_level"),
        "same_prompt": not prompt,
        "done_reason": answer.done_reason,
        "answer": answer.text[:SHOWN],
    }
    return Findings(tuple(problems), tuple(notes), facts)


def parameters_of(shown: str) -> dict[str, list[Any]]:
    """The parameters that /api/show tells as a text, a line for each value; in no order."""
    found: dict[str, list[Any]] = {}
    for line in filter(None, map(str.strip, shown.splitlines())):
        name, _, text = line.partition(" ")
        try:
            value = json.loads(text)
        except ValueError:
            value = text.strip()
        found.setdefault(name, []).append(value)
    return found


def _kept_as(shown: Mapping[str, Any], expected: Expected) -> Iterator[str]:
    found = (shown.get("details") or {}).get("quantization_level")
    if expected.file_type is not None and found != expected.file_type:
        yield f"its weights are kept as {found}, not as {expected.file_type}"


def _parameters(shown: Mapping[str, Any], expected: Expected) -> Iterator[str]:
    found = parameters_of(str(shown.get("parameters") or ""))
    wanted = {
        name: list(value) if isinstance(value, tuple) else [value]
        for name, value in expected.modelfile.parameters.items()
    }
    for name in sorted({*found, *wanted}):
        has, should = found.get(name, []), wanted.get(name, [])
        if name == "stop":
            yield from (
                f"it stops at {text!r}, which nobody asked for"
                for text in has
                if text not in should
            )
            yield from (f"it does not stop at {text!r}" for text in should if text not in has)
        elif has != should:
            yield f"its {name} is {_listed(has)}, and should be {_listed(should)}"


def _said_before(shown: Mapping[str, Any]) -> Iterator[str]:
    for what in ("system", "messages"):
        if shown.get(what):
            yield f"it has {what} of its own, which no row of the training data begins with"


def _prompt(ollama: Ollama, expected: Expected, messages: list[dict[str, str]]) -> Iterator[str]:
    template = (expected.head.chat_template or "").encode()
    if expected.trained_with not in (None, hashlib.sha256(template).hexdigest()):
        yield f"{expected.head.path.name} has another chat template than the training rows"
    found = ollama.render(expected.model, messages)
    if found is None:
        yield (
            f"Ollama {expected.version} does not tell which prompt it makes, so that it cannot be "
            "compared; 0.11.5 and later do"
        )
        return
    wanted = render(expected.head, messages)
    # The engine puts the first token there itself, and takes it off a template that writes it too.
    puts_it = expected.head.values.get("tokenizer.ggml.add_bos_token", True)
    begin = (expected.head.token("bos") or "") if puts_it else ""
    if found not in (wanted, wanted.removeprefix(begin)):
        at = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), None)
        at = min(len(found), len(wanted)) if at is None else at
        yield (
            f"the prompt it makes is not the one of the training: at character {at} there is "
            f"{found[at : at + 40]!r}, and should be {wanted[at : at + 40]!r}"
        )


def _template(shown: Mapping[str, Any], expected: Expected) -> Iterator[str]:
    template = expected.head.chat_template or ""
    if str(shown.get("template") or "").strip() != template.strip():
        yield (
            "it uses a template that Ollama took for the model's own; the prompt of an annotation "
            "is the same"
        )


def _answer(text: str, done_reason: str, form: TaggedForm) -> Iterator[str]:
    if done_reason != "stop":
        yield f"its answer has no end (done_reason {done_reason!r})"
    try:
        form.framework.annotation_model().model_validate(form.parse(text))
    except UnusableReply as exc:
        yield f"its answer is no annotation: {exc}"
    except ValidationError as exc:
        names = ", ".join(str(error["loc"][0]) for error in exc.errors())
        yield f"its answer is no annotation: missing or unusable: {names}"


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values)) or "unset"
