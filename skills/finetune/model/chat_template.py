"""A conversation as the text that a model reads, by the Jinja template within its GGUF.

As `apply_chat_template` of transformers renders it, which the training rows were made with, and
without its need for the tokenizer's files.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import InputError
from harness.support.optional_deps import require
from skills.finetune.formats.gguf_head import GgufHead


def render(head: GgufHead, messages: Sequence[Mapping[str, str]]) -> str:
    """The prompt for `messages`, up to where the model's answer begins.

    Raises:
        InputError: the GGUF has no template, or one that does not take this conversation.
        UsageError: Jinja is not installed.
    """
    require("jinja2")
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _as_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = _now
    try:
        rendered: str = environment.from_string(head.chat_template or "").render(
            messages=messages,
            add_generation_prompt=True,
            enable_thinking=False,
            tools=None,
            documents=None,
            **{f"{role}_token": head.token(role) or "" for role in ("bos", "eos")},
        )
        return rendered
    except jinja2.TemplateError as exc:
        raise InputError(f"its chat template fails: {exc}", where=str(head.path)) from exc


def _as_json(value: Any, **how: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **how})


def _now(form: str) -> str:
    return datetime.datetime.now().strftime(form)
