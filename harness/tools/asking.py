"""ask_user: a question of the model to the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from harness.errors import NotAllowed
from harness.permissions.permission import visible
from harness.tools import base
from harness.tools.base import BuiltinTool, Workplace


class AskUser(BuiltinTool):
    """Asks the user a question, with or without answers to choose from."""

    name = "ask_user"
    summary = "Ask the user a question that only the user can answer"

    class Arguments(base.Arguments):
        question: str = Field(min_length=1, max_length=2_000)
        choices: tuple[str, ...] = Field((), max_length=10, description="answers to choose from")

    def shown(self, given: Arguments) -> str:
        return given.question

    def call(self, given: Arguments, place: Workplace) -> Mapping[str, Any]:
        question = f"The model asks: {visible(given.question)}"
        choices = [*dict.fromkeys(visible(one)[:200] for one in given.choices if one.strip())]
        frontend = place.frontend
        if choices and frontend.choose is not None:
            return {"answer": frontend.choose(question, choices)}
        if frontend.ask is not None:
            listed = f" ({' / '.join(choices)})" if choices else ""
            return {"answer": frontend.ask(question + listed)}
        raise NotAllowed(
            "nobody is here to answer",
            hint="Go on without an answer where that is possible, and state what was assumed.",
        )
