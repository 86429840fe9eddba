"""Render a conversation with the Jinja chat template of a GGUF.

The result is that of `apply_chat_template` of transformers, with which the training rows were
rendered, without the tokenizer's files.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import InputError
from harness.models.gguf_file import GgufFile
from harness.support.process import require


def render(gguf: GgufFile, messages: Sequence[Mapping[str, str]]) -> str:
    """Return the prompt for `messages`, up to the start of the model's answer.

    Raises:
        InputError: the template rejects the conversation.
        UsageError: Jinja is not installed.
    """
    require("jinja2")
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **options})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    try:
        rendered: str = environment.from_string(gguf.chat_template or "").render(
            messages=messages,
            add_generation_prompt=True,
            enable_thinking=False,
            tools=None,
            documents=None,
            **{f"{role}_token": gguf.token(role) or "" for role in ("bos", "eos")},
        )
        return rendered
    except jinja2.TemplateError as exc:
        raise InputError(f"its chat template fails: {exc}", where=str(gguf.path)) from exc
