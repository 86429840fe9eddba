"""What a model may do: the rules of docs/permissions.md; reading with tools and commands alike."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import Call, Result, Skill
from harness.api.options import GeneralOptions
from harness.api.skill import SkillOptions
from harness.errors import NotAllowed
from harness.permissions import Permission, Permissions
from harness.runs.frontend import Caller, Frontend
from harness.runs.invocation import Invocation
from harness.settings import CODE_ROOT
from harness.terminal.console import Screen
from harness.testing import FakeModel, calling, fake_app, fake_settings, tool_call

SECRET = "hunter2-4711"
ABSTRACT = "We study parsers / compilers and show that 30% ~ 40% of /usr/bin is and/or was faster. "


class Shelve(Skill):
    """Reads files in a way of its own."""

    name = "shelve"
    summary = "Read files"
    impact = {"": "reads"}

    class Options(SkillOptions):
        beside: list[Path] = []
        named: str = ""

    def run(self, call: Call) -> Result:
        return Result(call.text)


def arguments(name: str, key: str, **others: Any) -> Callable[[str], tuple[str, dict[str, Any]]]:
    return lambda path: (name, {**others, key: path})


READERS = {
    "read_file": arguments("read_file", "path"),
    "list_files": arguments("list_files", "path"),
    "search_files": arguments("search_files", "path", pattern="hunter"),
    "write_file": arguments("write_file", "path", content="x", replaces="hunter2"),
    "/annotate": arguments("annotate", "text"),
    "/corpus fetch": arguments("corpus", "db", subcommand="stats"),
    "/evaluate": arguments("evaluate", "text"),
    "/curate": arguments("curate", "personas", text="a.txt"),
    "/shelve": arguments("shelve", "text"),
    "/shelve, in quotes": lambda path: ("shelve", {"text": f'"{path}"'}),
    "/shelve, among words": lambda path: ("shelve", {"text": f"put {path} there " + "on " * 50}),
    "/shelve, in a list": lambda path: ("shelve", {"text": "a", "beside": ["a.txt", path]}),
    "/shelve, as a text": arguments("shelve", "named", text="a"),
}
OUTSIDE = {
    "../secret.txt": "secret.txt",
    "{root}/secret.txt": "secret.txt",
    "docs/../../secret.txt": "secret.txt",
    "link.txt": "secret.txt",
    "~/secret.txt": "secret.txt",
    "out/secret.txt": "secret.txt",
    "config/registry.yaml": "project/config/registry.yaml",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    (project / "docs").mkdir(parents=True)
    (project / "a.txt").write_text(ABSTRACT)
    (tmp_path / "secret.txt").write_text(SECRET)
    (project / "link.txt").symlink_to(tmp_path / "secret.txt")
    (project / "out").symlink_to(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(project)
    return project


def called(project: Path, name: str, given: dict[str, Any], answer: str = "no") -> list[str]:
    """Let a model make a call, and return the questions to the user."""
    questions: list[str] = []

    def choose(question: str, choices: Sequence[str]) -> str:
        questions.append(question)
        return next(one for one in choices if one.startswith(answer))

    model = FakeModel(calling(tool_call(name, **given)), "Done.", takes_tools=True, context=32_768)
    app = fake_app(project, model, Shelve(), door=Frontend("test", choose=choose))
    app.dispatch("/chat -- read it")
    sent = "\n".join(m.content for request in model.requests for m in request.messages)
    assert SECRET not in sent
    return questions


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("reader", READERS)
def test_reads_outside_of_the_project_are_asked_about(
    project: Path, reader: str, path: str
) -> None:
    name, given = READERS[reader](path.format(root=project.parent))
    [question] = called(project, name, given)
    assert question == f"The model wants to read {project.parent / OUTSIDE[path]}. Allow it?"


@pytest.mark.parametrize("reader", READERS)
def test_reads_in_the_project_are_not_asked_about(project: Path, reader: str) -> None:
    name, given = READERS[reader]("a.txt")
    assert [one for one in called(project, name, given) if "wants to read" in one] == []


@pytest.mark.parametrize("text", [ABSTRACT, ABSTRACT * 20, "10.1000/x.y", "https://a.org/b", "a/b"])
def test_a_text_is_no_place(project: Path, text: str) -> None:
    asked = called(project, "shelve", {"text": text.replace("/usr/bin", "/usr/no-bin")})
    assert asked == []


def test_the_links_of_a_folder_are_asked_about(project: Path) -> None:
    (project / "docs" / "sub").mkdir()
    (project / "docs" / "sub" / "b.parquet").symlink_to(project.parent / "secret.txt")
    for text in ("docs", "docs/**/*.parquet", "docs/sub/?.parquet", "."):
        (project / "out").unlink(missing_ok=True)
        (project / "link.txt").unlink(missing_ok=True)
        [question] = called(project, "annotate", {"text": text})
        assert f"The model wants to read {project.parent / 'secret.txt'}." in question


def test_an_answer_covers_tools_and_commands_alike(project: Path) -> None:
    other = project.parent / "papers"
    other.mkdir()
    for name in ("a.txt", "b.txt"):
        (other / name).write_text(ABSTRACT)
    always = f"always: read everything below {other} in this project"
    assert called(project, "shelve", {"text": str(other / "a.txt")}, always)
    assert called(project, "shelve", {"text": str(other / "b.txt")}) == []
    assert called(project, "read_file", {"path": str(other / "b.txt")}) == []


@pytest.mark.parametrize("yes", [False, True])
def test_a_client_of_the_mcp_server_is_asked_alike(project: Path, yes: bool) -> None:
    app = fake_app(project, None, Shelve())
    asked: list[str] = []
    confirm = None if yes else lambda question: bool(asked.append(question))
    caller = Caller(Frontend("mcp", confirm, is_model=True), Screen(io.StringIO(), io.StringIO()))
    given = Invocation("shelve", "", "../secret.txt", Shelve.Options(), GeneralOptions(yes=yes))
    if yes:
        assert app.run_called(given, "/shelve", caller).result.text == "../secret.txt"
    else:
        with pytest.raises(NotAllowed):
            app.run_called(given, "/shelve", caller)
        assert asked == [f"The model wants to read {project.parent / 'secret.txt'}. Allow it?"]


# The rules of docs/permissions.md


def rules() -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("consent", CODE_ROOT / "docs" / "consent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.RULES)


def wanted(project: Path) -> dict[str, tuple[Permission, Permission]]:
    """Return for each rule about a question two actions, of which "always" covers both."""
    inside = lambda kind, *names: tuple(Permission(kind, str(project / one)) for one in names)  # noqa: E731
    run = lambda *lines: tuple(Permission("run", line) for line in lines)  # noqa: E731
    return {
        "read elsewhere": inside("read", "../a/b.txt", "../a/c.txt"),
        "write": inside("write", "docs/a.md", "docs/b.md"),
        "write instructions": inside("write", "docs/AGENTS.md", ".git/config"),
        "run to read": run("git diff", "git diff --stat docs"),
        "run": run("make test", "make  test"),
        "run anything": run("make test | sh", "python a.py"),
        "mcp": (Permission("mcp", "a__b"),) * 2,
        "activate": (Permission("activate", "one"), Permission("activate", "two")),
    }


ELSEWHERE = {
    "read": "test_reads_in_the_project_are_not_asked_about",
    "write controls": "test_what_controls_the_harness_stays_guarded",
    "command": "test_skill_tools: a call that writes needs consent",
    "instructions": "test_context_files",
}
"""Rules that other tests check."""


def test_the_table_of_the_documents_is_what_happens(project: Path) -> None:
    known = wanted(project)
    assert rules().keys() == {*known, *ELSEWHERE}
    settings = replace(fake_settings(project.parent), project_dir=project)
    for name, (first, second) in known.items():
        rule, asked, choices = rules()[name], list[str](), list[Sequence[str]]()

        def choose(
            question: str,
            offered: Sequence[str],
            asked: list[str] = asked,
            choices: list[Sequence[str]] = choices,
        ) -> str:
            asked.append(question)
            choices.append(offered)
            return offered[2] if len(offered) > 2 else "yes"

        permissions = Permissions(settings, choose)
        permissions.check(first)
        assert len(asked) == 1, name
        assert (len(choices[0]) > 2) is (rule.asked == "yes") is bool(rule.always), name
        permissions.check(second)
        assert len(asked) == (1 if rule.always else 2), name


def test_the_page_has_the_table() -> None:
    text = (CODE_ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
    assert all(f"| {rule.what} | {rule.asked} |" in text for rule in rules().values())
