"""A project, and a user who answers the questions of tools."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.permissions import Permissions
from harness.runs.frontend import Frontend
from harness.terminal.console import Screen
from harness.testing import fake_settings
from harness.tools.builtin_tools import BuiltinTool, Workplace


@dataclass
class User:
    """Gives the first choice that starts with `answer`."""

    answer: str = "no"
    questions: list[str] = field(default_factory=list)

    def choose(self, question: str, choices: Sequence[str]) -> str:
        self.questions.append(question)
        return next((one for one in choices if one.startswith(self.answer)), "")


Use = Callable[..., dict[str, Any]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def user() -> User:
    return User()


@pytest.fixture
def place(project: Path, user: User) -> Workplace:
    settings = replace(fake_settings(project.parent), project_dir=project)
    settings.config_dir.mkdir()
    frontend = Frontend("test", choose=user.choose, ask=lambda question: f"about {question}")
    permissions = Permissions(settings, user.choose)
    return Workplace(permissions, frontend, Screen(io.StringIO(), io.StringIO()))


@pytest.fixture
def use(place: Workplace) -> Use:
    """Call a tool with arguments."""

    def call(tool: BuiltinTool, *, at: Workplace = place, **arguments: Any) -> dict[str, Any]:
        return dict(tool.call(tool.Arguments(**arguments), at))

    return call
