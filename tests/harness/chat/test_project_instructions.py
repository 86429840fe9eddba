"""AGENTS.md of the project and of the folders around it, once the user has allowed it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.app import App
from harness.runs.frontend import Frontend
from harness.testing import FakeModel, fake_app

QUESTION = "instructions of this project for models. Follow them?"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "work" / "repo" / "part"
    project.mkdir(parents=True)
    (tmp_path / "work" / "AGENTS.md").write_text("Not of the repository.")
    (project.parent / ".git").mkdir()
    (project.parent / "AGENTS.md").write_text("Answer in one sentence.")
    (project / "AGENTS.md").write_text("Write no lists.\n")
    return project


@pytest.fixture
def started(project: Path) -> Callable[..., tuple[App, FakeModel]]:
    def start(
        confirm: Callable[[str], bool] | None = None, context: int | None = None
    ) -> tuple[App, FakeModel]:
        """Return a new process in the project."""
        model = FakeModel("Sure.", context=context)
        app = fake_app(project, model)
        app.frontend = Frontend("repl", confirm)
        return app, model

    return start


def system(model: FakeModel) -> str:
    return model.requests[-1].messages[0].content


def notices(app: App) -> str:
    return str(app.screen.err.getvalue())  # type: ignore[attr-defined]


def test_the_project_is_asked_about_once(started, project) -> None:
    questions: list[str] = []
    app, model = started(lambda question: questions.append(question) or True)
    app.dispatch("hello")
    app.dispatch("hello again")
    [question] = questions
    assert question.endswith(QUESTION)
    assert str(project / "AGENTS.md") in question
    assert system(model).endswith(
        f'in this project:\n\n<instructions path="{project.parent}/AGENTS.md">\n'
        f'Answer in one sentence.\n</instructions>\n\n<instructions path="{project}/AGENTS.md">\n'
        "Write no lists.\n</instructions>"
    )
    later, model = started()
    later.dispatch("hello")
    assert "Write no lists." in system(model)
    listed = later.dispatch("/permissions").result.text
    assert f"instructions of AGENTS.md in {project.parent}" in " ".join(listed.split())
    later.dispatch("/permissions revoke all")
    later.dispatch("hello")
    assert "Write no lists." not in system(model)


def test_refused_instructions_are_not_read(started) -> None:
    questions: list[str] = []
    app, model = started(lambda question: bool(questions.append(question)))
    app.dispatch("hello")
    app.dispatch("hello again")
    assert len(questions) == 1
    assert "Write no lists." not in system(model)
    assert started()[0].dispatch("/permissions").result.text == "Nothing is allowed."


def test_without_a_person_there_is_one_notice(started) -> None:
    app, model = started()
    app.dispatch("hello")
    app.dispatch("hello again")
    assert "Write no lists." not in system(model)
    assert " ".join(notices(app).split()).count("AGENTS.md: not read, since nobody is here") == 1


def test_yes_is_no_trust(started) -> None:
    app, model = started()
    app.general = {"yes": True}
    app.dispatch("hello")
    assert "Write no lists." not in system(model)


@pytest.mark.parametrize("kind", ["link", "pipe", "big", "latin"])
def test_other_files_are_left_out(started, project, tmp_path, kind) -> None:
    (tmp_path / "secret").write_text("a password")
    path = project / "AGENTS.md"
    path.unlink()
    if kind == "link":
        path.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"x" * 32_001 if kind == "big" else b"caf\xe9")
    app, model = started(lambda question: True)
    app.dispatch("hello")
    app.dispatch("hello again")
    assert "Answer in one sentence." in system(model)
    assert f"{project}/" not in system(model)
    assert "password" not in system(model)
    assert "".join(notices(app).split()).count(f"{path}isnotread") == 1


def test_the_nearest_file_has_room_first(started, project) -> None:
    (project / "AGENTS.md").write_text("Write no lists. " * 500)
    app, model = started(lambda question: True, context=4096)
    app.dispatch("hello")
    assert "Write no lists." in system(model)
    assert "Answer in one sentence." not in system(model)
    assert len(system(model)) < 4096 * 3 // 4 + 500
    assert "the model's context is small" in " ".join(notices(app).split())


def test_folders_outside_a_repository_are_not_read(started, project) -> None:
    (project.parent / ".git").rmdir()
    app, model = started(lambda question: True)
    app.dispatch("hello")
    assert "Write no lists." in system(model)
    assert "Answer in one sentence." not in system(model)


def test_without_a_file_nothing_is_asked(started, project) -> None:
    for folder in (project, project.parent):
        (folder / "AGENTS.md").unlink()
    app, model = started(lambda question: pytest.fail(question))
    app.dispatch("hello")
    assert "instructions" not in system(model)
