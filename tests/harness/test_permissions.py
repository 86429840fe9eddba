"""Consent to what a model wants to do: questions, answers, and what they cover later."""

from __future__ import annotations

import json
import random
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import NotAllowed
from harness.permissions import Kind, Permission, Permissions, refuse_protected
from harness.programs import HARMLESS
from harness.runs.frontend import Frontend
from harness.testing import fake_app, fake_settings


class User:
    """Answers questions with the first choice that starts with the first possible text."""

    def __init__(self, *answers: str) -> None:
        self.answers = answers
        self.questions: list[str] = []
        self.choices: list[Sequence[str]] = []

    def choose(self, question: str, choices: Sequence[str]) -> str:
        self.questions.append(question)
        self.choices.append(choices)
        found = (one for answer in self.answers for one in choices if one.startswith(answer))
        return next(found, "")


Check = Callable[..., bool]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "docs").mkdir(parents=True)
    return tmp_path / "project"


def asks(project: Path, user: User) -> Permissions:
    settings = replace(fake_settings(project.parent), project_dir=project)
    return Permissions(settings, user.choose)


def is_asked(project: Path, wanted: Permission) -> bool:
    """Return whether the user is asked again."""
    user = User("yes")
    asks(project, user).check(wanted)
    return bool(user.questions)


def run(command: str, **more: object) -> Permission:
    return Permission("run", command, **more)  # type: ignore[arg-type]


def allow(project: Path, wanted: Permission, answer: str = "always") -> None:
    asks(project, User(answer)).check(wanted)


def test_yes_allows_once(project: Path) -> None:
    user = User("yes")
    asks(project, user).check(run("git diff", detail="in the project"))
    assert user.questions == ["in the project\nThe model wants to run `git diff`. Allow it?"]
    assert user.choices[0][:2] == ("yes", "no")
    assert is_asked(project, run("git diff"))


@pytest.mark.parametrize("answer", ["no", "neither"])
def test_any_other_answer_refuses(project: Path, answer: str) -> None:
    with pytest.raises(
        NotAllowed, match="wants to run `git diff`, and the user did not allow that"
    ):
        allow(project, run("git diff"), answer)


def test_without_a_user_it_is_refused(project: Path) -> None:
    settings = replace(fake_settings(project), project_dir=project)
    with pytest.raises(NotAllowed, match="nobody is here to allow that") as refused:
        Permissions(settings, None).check(run("ls"))
    assert "--yes" in str(refused.value.hint)
    assert refused.value.exit_code == 2
    Permissions(settings, None, yes=True).check(run("ls"))


def test_a_frontend_with_only_yes_and_no(project: Path) -> None:
    settings = replace(fake_settings(project), project_dir=project)
    Permissions(settings, None, lambda question: True).check(run("ls"))
    with pytest.raises(NotAllowed):
        Permissions(settings, None, lambda question: False).check(run("ls"))


# Commands

SAME = ["git diff", "git diff --stat", "git diff HEAD docs", "git  diff 'a b'", "git diff -U5 HEAD"]
OTHERS = [
    "git push",
    "git difftool",
    "git -C docs diff",
    "./git diff",
    "GIT_EXTERNAL_DIFF=x git diff",
    "git diff; rm -r docs",
    "git diff && rm x",
    "git diff || rm x",
    "git diff | sh",
    "git diff & rm x",
    "git diff $(rm x)",
    'git diff "$(rm x)"',
    "git diff `rm x`",
    "git diff $HOME",
    "git diff > docs/x",
    "git diff >> docs/x",
    "git diff < docs/x",
    "git diff <(rm x)",
    "git diff\nrm x",
    "git diff\rrm x",
    "git diff \\\nrm x",
    "git diff 'a",
    "git diff ~/x",
    "git diff {a,b}",
    "git diff *",
    "git diff \x1b[2Krm",
    "git diff --output=/etc/x",
    "git diff --output=../x",
    "git diff -o/etc/x",
    "git diff /etc/passwd",
    "git diff file:///etc/passwd",
    "git diff @/etc/passwd",
    "git diff --to=a,/etc/passwd",
    "git diff docs/../../x",
    "git diff link/x",
    "git diff --ext-diff",
    "git diff --outp x",
    "git diff --no-index a b",
    "git diff -O x",
]


def test_a_command_that_only_reads_covers_reviewed_options(project: Path) -> None:
    allow(project, run("git diff --cached"))
    assert not [one for one in SAME if is_asked(project, run(one))]


@pytest.mark.parametrize("command", OTHERS)
def test_a_command_that_only_reads_covers_nothing_else(project: Path, command: str) -> None:
    (project / "link").symlink_to("/etc")
    allow(project, run("git diff"))
    assert is_asked(project, run(command))


@pytest.mark.parametrize("command", [one for one in OTHERS if any(c in one for c in ";&|$`<>\n\r")])
def test_a_shell_command_is_never_always_allowed(project: Path, command: str) -> None:
    user = User("yes")
    asks(project, user).check(run(command, skill="mine"))
    assert user.choices == [("yes", "no")]


@pytest.mark.parametrize(
    ("allowed", "other"),
    [
        ("npm test", "npm publish"),
        ("make test", "make test install"),
        ("pytest tests -q", "pytest tests -q -q"),
        ("git push", "git push --force"),
        ("cp a b", "cp a c"),
        ("rm docs/a", "rm docs/b"),
        ("ls docs", "lsof"),
        ("cat a", "cat-evil a"),
    ],
)
def test_any_other_command_is_allowed_exactly(project: Path, allowed: str, other: str) -> None:
    allow(project, run(allowed))
    assert not is_asked(project, run(allowed))
    assert is_asked(project, run(other))
    assert is_asked(project, run(f"{allowed} x")) or allowed.startswith(("ls", "cat"))


EACH_TIME = [
    "python -c pass",
    "python3.11 a.py",
    "bash a.sh",
    "BASH a.sh",
    "env ls",
    "env -i ls",
    "nice make",
    "timeout 5 make",
    "xargs ls",
    "sudo ls",
    "find docs -delete",
    "./make test",
    "/usr/bin/make test",
    "docs/build.sh",
    "git commit -m text",
    "gcc -ofile a.c",
    "make CC=gcc",
    "cc @options",
    "curl -K docs/x",
]
SEVENTEEN = {
    "ionice -c3 rm a": "ionice -c3 ls",
    "taskset 1 rm a": "taskset 1 ls",
    "flock lock rm a": "flock lock ls",
    "prlimit --nproc=9 rm a": "prlimit --nproc=9 ls",
    "setpriv --no-new-privs rm a": "setpriv --no-new-privs ls",
    "setarch -R rm a": "setarch -R ls",
    "nsenter --all rm a": "nsenter --all ls",
    "git fetch --upload-pack docs/x": "git fetch",
    "tar -I docs/x -xf a.tar": "tar tf a.tar",
    "tar --use-compress-program=x tf a.tar": "tar tf a.tar",
    "make -f docs/x": "make",
    "make SHELL=docs/x": "make",
    "gcc -wrapper docs/x a.c": "gcc a.c",
    "cp docs/x .git/hooks/pre-commit": "cp docs/x docs/y",
    "cp docs/x .mcp.json": "cp docs/x docs/y",
    "sort -o .git/config docs/x": "sort docs/x",
    "git diff --output=AGENTS.md": "git diff",
}
"""What "always" covered at 5facbe73, with a command that the user may have allowed before."""
GUARDED = [
    *(one for one in SEVENTEEN if ".git/" in one or "AGENTS" in one or ".mcp" in one),
    "cp docs/x .GIT/hooks/y",
    "cp docs/x docs/sub/.git/config",
    "mv docs/x Agents.md",
    "touch skills/x/SKILL.md",
    "touch .agents/skills/x/SKILL.md",
    "tee mcp.json",
    "cp docs/x way/config",
]


@pytest.mark.parametrize("command", [*EACH_TIME, *SEVENTEEN, *GUARDED])
def test_what_its_words_do_not_tell_is_asked_about_each_time(project: Path, command: str) -> None:
    (project / "way").symlink_to(project / ".git")
    if command in SEVENTEEN:
        asks(project, User("always", "yes")).check(run(SEVENTEEN[command]))
    user = User("yes")
    asks(project, user).check(run(command, skill="mine"))
    assert user.choices == [("yes", "no")]


@pytest.mark.parametrize("command", [*EACH_TIME, *SEVENTEEN])
def test_in_the_sandbox_exactly_this_command_is_allowed(project: Path, command: str) -> None:
    allow(project, run(command, confined=True))
    assert not is_asked(project, run(command, confined=True))
    assert is_asked(project, run(f"{command} x", confined=True))
    assert is_asked(project, run(command)), "not without the sandbox"


@pytest.mark.parametrize("answer", ["", "cp", "git", "make", "sort", "tar", "python a.py"])
def test_the_prefixes_of_earlier_versions_cover_no_other_command(
    project: Path, answer: str
) -> None:
    file = fake_settings(project.parent).permissions_file
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({str(project): [{"kind": "run", "subject": answer}]}))
    assert is_asked(project, run(f"{answer} x".strip()))


def test_a_project_with_the_harness_own_files_is_not_read_unasked(project: Path) -> None:
    settings = replace(fake_settings(project / "harness"), project_dir=project)
    Permissions(settings, User("always").choose).check(run("cat docs/x"))
    user = User("yes")
    Permissions(settings, user.choose).check(run("cat harness/config/registry.yaml"))
    Permissions(settings, user.choose).check(run("grep -r key"))
    assert len(user.questions) == 2


PROGRAMS = [*HARMLESS, "make test", "cp docs/x docs/y", "sort docs/x", "tar tf a.tar", "npm test"]
ADDED = [
    *("-o docs/x", "-odocs/x", "--output=docs/x", "--output docs/x", "-I docs/x", "-f docs/x"),
    *("--upload-pack docs/x", "--exec=docs/x", "--pre docs/x", "-wrapper docs/x"),
    *("--ext-diff", "--files0-from=docs/x", "-Rf", "--config docs/x", "/etc/passwd"),
    *("../x", "~/x", "file:///etc/passwd", "link/x", "-C ..", "; rm x", "$(rm x)", "> x", "| sh"),
]


def test_two_hundred_probes_are_not_covered(project: Path) -> None:
    (project / "link").symlink_to("/etc")
    for command in PROGRAMS:
        allow(project, run(command))
    rng = random.Random(1)
    probes = {
        f"{command} {' '.join(rng.sample(ADDED, rng.randint(1, 3)))}"
        for command in PROGRAMS
        for _ in range(20)
    } | {"grep -R x", "make test SHELL=docs/x", "tail --follow docs/x", "pwd -L", "tail -f docs/x"}
    assert len(probes) >= 200
    assert [one for one in sorted(probes) if not is_asked(project, run(one))] == []


def test_the_whole_command_is_visible(project: Path) -> None:
    user = User("yes")
    asks(project, user).check(run("echo a\n\x1b[1A\u202erm -rf docs"))
    assert "`echo a\\n\\x1b[1A\\u202erm -rf docs`" in user.questions[0]


# Files


def path(kind: Kind, place: Path, **more: str) -> Permission:
    return Permission(kind, str(place), **more)


def test_always_for_a_folder(project: Path) -> None:
    allow(project, path("write", project / "docs" / "a.md"))
    assert not is_asked(project, path("write", project / "docs" / "sub" / "b.md"))
    assert is_asked(project, path("write", project / "README.md"))
    assert is_asked(project, path("read", project / "docs" / "a.md"))
    assert is_asked(project, path("write", project / "docs" / ".." / "a.md"))
    (project / "docs" / "out").symlink_to("/etc")
    assert is_asked(project, path("write", project / "docs" / "out" / "x"))


def test_always_for_a_file_beside_others_is_for_that_file(project: Path) -> None:
    allow(project, path("write", project / "README.md"))
    assert not is_asked(project, path("write", project / "README.md"))
    assert is_asked(project, path("write", project / "Makefile"))


def test_files_that_control_git_and_models_are_asked_about_each_time(project: Path) -> None:
    (project / ".git").mkdir()
    whole = f"always: write everything below {project} for /mine"
    allow(project, path("write", project / "docs" / "a.md", skill="mine"), whole)
    for name in (".git/config", "docs/.GIT/config", "AGENTS.md", "docs/agents.md"):
        user = User("yes")
        asks(project, user).check(path("write", project / name, skill="mine"))
        assert user.choices == [("yes", "no")]
    assert not is_asked(project, path("write", project / "docs" / "b.md", skill="mine"))


@pytest.mark.parametrize(
    "place",
    ["skills/x/SKILL.md", ".agents/skills/x/SKILL.md", "SKILLS/x.md", "docs/../skills/x", "way/x"],
)
@pytest.mark.parametrize("yes", [False, True])
def test_what_controls_the_harness_stays_guarded(project: Path, place: str, yes: bool) -> None:
    (project / "way").symlink_to(project / "skills")
    settings = replace(fake_settings(project.parent), project_dir=project)
    user = User("yes")
    with pytest.raises(NotAllowed, match="files there control the harness"):
        Permissions(settings, user.choose, yes=yes).check(path("write", project / place))
    assert not user.questions


@pytest.mark.parametrize("file", ["permissions_file", "trust_file", "user_registry"])
def test_permissions_trust_and_registry_are_guarded(project: Path, file: str) -> None:
    settings = fake_settings(project)
    with pytest.raises(NotAllowed, match="control the harness"):
        Permissions(settings, None, yes=True).check(path("write", getattr(settings, file)))


# Skills


def test_always_for_a_skill(project: Path) -> None:
    allow(project, run("npm test", skill="mine"), "always: run exactly `npm test` for /mine")
    assert not is_asked(project, run("npm test", skill="mine"))
    assert is_asked(project, run("npm test"))
    assert is_asked(project, run("npm test", skill="other"))
    assert is_asked(project, run("npm publish", skill="mine"))
    assert is_asked(project, path("write", project / "a.md", skill="mine"))
    folder = project.parent / "config" / "skills" / "mine"
    own = run(f"python {folder}/a.py", skill="mine", folder=folder, confined=True)
    allow(project, own)
    assert not is_asked(project, own)
    assert is_asked(project, replace(own, folder=None))


def test_a_skill_that_may_write_stays_in_the_project(project: Path) -> None:
    always = f"always: write everything below {project} for /mine"
    allow(project, path("write", project / "docs" / "a.md", skill="mine"), always)
    assert not is_asked(project, path("write", project / "src" / "a.py", skill="mine"))
    assert is_asked(project, path("write", project.parent / "a.py", skill="mine"))


def test_a_tool_of_a_server(project: Path) -> None:
    allow(project, Permission("mcp", "files__list"))
    assert not is_asked(project, Permission("mcp", "files__list"))
    assert is_asked(project, Permission("mcp", "files__delete"))


# The file of stored answers


def test_answers_are_stored_by_project_for_the_user_alone(project: Path) -> None:
    allow(project, run("git diff"))
    other = project.parent / "other"
    other.mkdir()
    assert is_asked(other, run("git diff"))
    file = fake_settings(project.parent).permissions_file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == {str(project): [{"kind": "run", "subject": "git diff"}]}
    allow(other, run("ls"))
    assert not is_asked(project, run("git diff"))


@pytest.mark.parametrize(
    "content", ["{", "[1]", '{"/": 1}', '{"/": [{"kind": "all"}]}', '{"/": [{"kind": 1}]}', "\xff"]
)
def test_a_damaged_file_allows_nothing(project: Path, content: str) -> None:
    file = fake_settings(project.parent).permissions_file
    file.parent.mkdir(parents=True)
    file.write_bytes(content.encode("latin-1"))
    assert is_asked(project, run("git diff"))
    assert "so every call is asked about" in asks(project, User("")).answers.damage()
    allow(project, run("git diff"))
    assert not is_asked(project, run("git diff"))
    assert file.with_name("permissions.json.damaged").read_bytes() == content.encode("latin-1")


def test_a_question_shows_a_long_detail_in_part(project: Path) -> None:
    user = User("yes")
    asks(project, user).check(run("ls", detail="\n".join(map(str, range(1500)))))
    assert "\n999\n... (500 more lines)\nThe model" in user.questions[0]


# /permissions


def test_the_command_lists_and_revokes(tmp_path: Path) -> None:
    app = fake_app(tmp_path, door=Frontend("test", choose=User("always").choose))
    assert app.dispatch("/permissions").result.text == "Nothing is allowed."
    app.permissions.check(run("git diff"))
    app.permissions.check(run("npm test"))
    listed = app.dispatch("/permissions").result
    assert "1  run `git diff`, which only reads" in listed.text
    assert "2  run exactly `npm test`" in listed.text
    assert [one["subject"] for one in listed.data["allowed"]] == ["git diff", "npm test"]
    app.dispatch("/permissions revoke 1")
    assert [one.subject for one in app.permissions.answers.given()] == ["npm test"]
    app.dispatch("/permissions revoke all")
    assert not app.permissions.answers.given()


@pytest.mark.parametrize("line", ["revoke", "revoke 0", "revoke 2", "revoke x", "revoke ²", "5"])
def test_the_command_refuses_what_it_does_not_know(tmp_path: Path, line: str) -> None:
    from harness.errors import UsageError

    app = fake_app(tmp_path, door=Frontend("test", choose=User("always").choose))
    app.permissions.check(run("git diff"))
    with pytest.raises(UsageError):
        app.dispatch(f"/permissions {line}")
    assert app.permissions.answers.given()


def test_models_cannot_call_it(tmp_path: Path) -> None:
    assert "permissions" not in {tool.name for tool in fake_app(tmp_path).toolbox.tools(10**6)}


def test_yes_of_the_line_allows(tmp_path: Path) -> None:
    app = fake_app(tmp_path)
    app.dispatch("/permissions --yes")
    app.permissions.check(run("ls"))
    app.dispatch("/permissions")
    with pytest.raises(NotAllowed):
        app.permissions.check(run("ls"))


def test_links_cannot_replace_the_project(project: Path) -> None:
    """The answers belong to the folder, by whatever name it is reached."""
    allow(project, run("git diff"))
    link = project.parent / "link"
    link.symlink_to(project)
    assert not is_asked(link, run("git diff"))


def test_a_hard_link_to_a_protected_file_is_refused(tmp_path: Path) -> None:
    """A hard link simulates `Skills` on a file system that ignores case."""
    kept = tmp_path / "registry.yaml"
    kept.write_text("models: {}")
    (tmp_path / "REGISTRY.yaml").hardlink_to(kept)
    with pytest.raises(NotAllowed, match=r"REGISTRY\.yaml"):
        refuse_protected("annotate", [tmp_path / "REGISTRY.yaml"], [kept])


def test_protection_ignores_case_of_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed):
        refuse_protected("annotate", [tmp_path / "Skills" / "new.md"], [tmp_path / "skills"])


def test_a_common_prefix_is_not_protected(tmp_path: Path) -> None:
    (tmp_path / "skills").mkdir()
    refuse_protected("annotate", [tmp_path / "skills.csv"], [tmp_path / "skills", tmp_path / "s"])
