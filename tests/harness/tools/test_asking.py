"""ask_user: with choices, free text, and nobody there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.errors import NotAllowed
from harness.runs.frontend import Frontend
from harness.tools.builtin_tools import AskUser, Workplace

if TYPE_CHECKING:
    from conftest import Use, User


def test_choices(use: Use, user: User) -> None:
    user.answer = "blue"
    given = use(AskUser(), question="Which\x1b[2J colour?", choices=["red", "blue", "", "blue"])
    assert given == {"answer": "blue"}
    assert user.questions == ["The model asks: Which\\x1b[2J colour?"]


def test_free_text(use: Use, place: Workplace) -> None:
    assert use(AskUser(), question="Why?") == {"answer": "about The model asks: Why?"}
    typed = replace(place, frontend=Frontend("test", ask=lambda question: question))
    given = use(AskUser(), at=typed, question="Which?", choices=["a", "b"])
    assert given == {"answer": "The model asks: Which? (a / b)"}


def test_nobody_is_there(use: Use, place: Workplace) -> None:
    with pytest.raises(NotAllowed, match="nobody is here to answer"):
        use(AskUser(), at=replace(place, frontend=Frontend("one-shot")), question="Why?")
