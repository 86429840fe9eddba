"""Verify on the server that the model Ollama created is the one that was trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from harness.errors import InputError
from skills.finetune.deploy.modelfile import Modelfile
from skills.finetune.deploy.ollama_api import Ollama
from skills.finetune.deploy.ollama_plan import Plan
from skills.finetune.model.chat_template import render
from skills.nanda.forms import Form, UnusableReply
from skills.nanda.paper import Paper

ABSTRACT = (
    "Agents that call tools fail in ways their logs do not show. We present Ledger, which records "
    "each call with its inputs and replays a run step by step. In a study with 24 engineers, "
    "faults were found 40% faster than with plain logs. Ledger handles only tools without side "
    "effects. The results suggest that replay should be part of every agent framework."
)
"""An invented abstract, annotated once."""
SHOWN = 300
"""Characters of the answer kept in the manifest."""


def verify(
    ollama: Ollama, plan: Plan, version: str, form: Form, trained_with: str | None
) -> dict[str, Any]:
    """Check the model's settings, the prompt the server builds, and one annotation.

    Args:
        form: the form that the model was trained on.
        trained_with: SHA-256 of the chat template of the training rows, or None if unknown.

    Returns: verified; problems, which are differences from the trained model; notes on differences
        without effect; quantization_level, same_prompt, done_reason and answer.

    Raises:
        HarnessError: the server rejects a request or ends an answer early.
    """
    shown = ollama.show(plan.model)
    messages = [
        {"role": message.role, "content": message.content}
        for message in form.messages(Paper("id", "", "", ABSTRACT))
    ]
    file_type = (shown.get("details") or {}).get("quantization_level")
    problems = []
    if plan.file_type is not None and file_type != plan.file_type:
        problems.append(f"its weights are {file_type}, not {plan.file_type}")
    problems += _parameters(str(shown.get("parameters") or ""), plan.modelfile)
    problems += [
        f"it has its own {name}, with which no row of the training data starts"
        for name in ("system", "messages")
        if shown.get(name)
    ]
    template, notes = plan.gguf.chat_template or "", []
    prompt = list(_prompt(ollama, plan, version, messages))
    if trained_with not in (None, hashlib.sha256(template.encode()).hexdigest()):
        prompt.append(f"{plan.gguf.path.name} has a different chat template than the training rows")
    if not prompt and str(shown.get("template") or "").strip() != template.strip():
        notes.append(
            "it uses a built-in template of Ollama in place of the model's own; the prompt of an "
            "annotation is the same"
        )
    answer, done_reason = ollama.chat(plan.model, messages)
    problems += [*prompt, *_answer(answer, done_reason, form)]
    return {
        "verified": not problems,
        "problems": problems,
        "notes": notes,
        "quantization_level": file_type,
        "same_prompt": not prompt,
        "done_reason": done_reason,
        "answer": answer[:SHOWN],
    }


def _parameters(shown: str, modelfile: Modelfile) -> Iterator[str]:
    """Compare the parameters of /api/show, a line for each value in any order."""
    found: dict[str, list[Any]] = {}
    for line in filter(None, map(str.strip, shown.splitlines())):
        name, _, text = line.partition(" ")
        try:
            value = json.loads(text)
        except ValueError:
            value = text.strip()
        found.setdefault(name, []).append(value)
    wanted = {
        name: value if isinstance(value, list) else [value]
        for name, value in modelfile.parameters.items()
    }
    for name in sorted({*found, *wanted}):
        actual, should = found.get(name, []), wanted.get(name, [])
        if name == "stop":
            unwanted = [text for text in actual if text not in should]
            yield from (f"it stops at {text!r}, which is not in the Modelfile" for text in unwanted)
            yield from (f"it does not stop at {text!r}" for text in should if text not in actual)
        elif actual != should:
            yield f"its {name} is {_listed(actual)}, and should be {_listed(should)}"


def _prompt(
    ollama: Ollama, plan: Plan, version: str, messages: list[dict[str, str]]
) -> Iterator[str]:
    gguf = plan.gguf
    found = ollama.render(plan.model, messages)
    if found is None:
        yield (
            f"Ollama {version} does not return the prompt it builds, so it cannot be "
            "compared; 0.11.5 and later do"
        )
        return
    wanted = render(gguf, messages)
    # The engine adds the first token itself, and removes it from a template that adds it too.
    adds_bos = gguf.values.get("tokenizer.ggml.add_bos_token", True)
    if found in (wanted, wanted.removeprefix((gguf.token("bos") or "") if adds_bos else "")):
        return
    differ = (i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b)
    at = next(differ, min(len(found), len(wanted)))
    yield (
        f"the prompt it builds differs from the training's: at character {at} it has "
        f"{found[at : at + 40]!r} and should have {wanted[at : at + 40]!r}"
    )


def _answer(text: str, done_reason: str, form: Form) -> Iterator[str]:
    if done_reason != "stop":
        yield f"its answer has no end (done_reason {done_reason!r})"
    try:
        form.framework.valid_moves(form.parse(text))
    except UnusableReply as exc:
        yield f"its answer is not an annotation: {exc}"
    except InputError as exc:
        yield f"its answer is not an annotation: {exc.message}"


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values)) or "unset"
