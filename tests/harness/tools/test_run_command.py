"""run: commands, their limits, their environment and the sandbox."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import settings
from harness.errors import Interrupted, NotAllowed, NothingFound, SkillFailed
from harness.permissions import Permissions
from harness.tools import run_command
from harness.tools.builtin_tools import Workplace
from harness.tools.run_command import Run, environment_of

if TYPE_CHECKING:
    from conftest import Use, User

needs_sandbox = pytest.mark.skipif(
    bool(run_command.no_sandbox()), reason=run_command.no_sandbox() or "-"
)


@pytest.fixture(params=["sandbox", "no sandbox"])
def confined(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run with and without the sandbox."""
    if request.param == "sandbox" and run_command.no_sandbox():
        pytest.skip(run_command.no_sandbox())
    if request.param == "no sandbox":
        monkeypatch.setattr(run_command, "no_sandbox", lambda: "the test has none")
    return bool(request.param == "sandbox")


@pytest.fixture
def allowed(user: User) -> None:
    user.answer = "yes"


def ended(mark: str) -> bool:
    """Return whether no process has the mark in its command line, within some seconds."""
    for _ in range(100):
        running_now = [
            entry
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and mark in command_line(entry)
        ]
        if not running_now:
            return True
        time.sleep(0.05)
    return False


def command_line(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.usefixtures("allowed", "confined")
def test_a_command_runs_in_the_project(project: Path, use: Use) -> None:
    (project / "a.txt").write_text("content")
    assert use(Run(), command="cat a.txt") == {"exit_code": 0, "output": "content"}
    shell = use(Run(), command="pwd; cat; echo error >&2; exit 3")
    assert shell == {"exit_code": 3, "output": f"{project}\nerror\n"}, "stdin is empty"
    use(Run(), command="touch made.txt")
    assert (project / "made.txt").exists()


def test_the_question_has_the_whole_command(use: Use, user: User, project: Path) -> None:
    with pytest.raises(NotAllowed):
        use(Run(), command="rm a.txt; echo\tb\nrm c.txt")
    [question] = user.questions
    assert question.startswith(f"In {project}, ")
    assert "The model wants to run `rm a.txt; echo\\tb\\nrm c.txt`. Allow it?" in question


@pytest.mark.usefixtures("allowed")
def test_an_unknown_program(use: Use, user: User) -> None:
    with pytest.raises(NothingFound, match="there is no program 'nosuchprogram'"):
        use(Run(), command="nosuchprogram --version")
    with pytest.raises(NothingFound, match=r"there is no program '\./aaa"):
        use(Run(), command=f"./{'a' * 5000}")
    assert not user.questions
    assert use(Run(), command="nosuchprogram | cat")["exit_code"] == 0


def test_a_script_that_is_not_executable_exists(use: Use, user: User, project: Path) -> None:
    (project / "x.sh").write_text("#!/bin/sh\n")
    with pytest.raises(NotAllowed):
        use(Run(), command="./x.sh")
    assert user.questions


# Limits


@pytest.mark.usefixtures("allowed", "confined")
def test_a_command_that_hangs_is_killed(use: Use) -> None:
    done = use(Run(), command="echo begun; sleep 98761; echo over", timeout=1)
    assert done == {"output": "begun\n", "stopped": "not finished within 1 s"}
    assert ended("sleep\x0098761")


@pytest.mark.usefixtures("allowed", "confined")
def test_a_background_process_does_not_survive(use: Use) -> None:
    assert use(Run(), command="sleep 98762 & echo done") == {"exit_code": 0, "output": "done\n"}
    assert ended("sleep\x0098762")


@pytest.mark.usefixtures("allowed", "confined")
def test_a_command_that_closes_its_output_and_hangs(use: Use) -> None:
    done = use(Run(), command="exec >&- 2>&-; sleep 98763", timeout=1)
    assert done["stopped"] == "not finished within 1 s"
    assert ended("sleep\x0098763")


@pytest.mark.usefixtures("allowed", "confined")
def test_a_flood_of_output_is_stopped(use: Use) -> None:
    done = use(Run(), command="yes abcdefg")
    assert done["stopped"] == "more than 10 MB of output"
    assert len(done["output"]) < 2 * run_command.KEPT + 100
    assert "characters left out" in done["output"]


@pytest.mark.usefixtures("allowed", "confined")
def test_ten_megabytes_are_shortened(use: Use) -> None:
    done = use(Run(), command="head -c 9000000 /dev/zero | tr '\\0' x; echo end")
    assert done["exit_code"] == 0
    assert done["output"].endswith("xxxend\n")
    assert len(done["output"]) < 2 * run_command.KEPT + 100


@pytest.mark.usefixtures("allowed", "confined")
def test_binary_output_is_replaced(use: Use) -> None:
    assert use(Run(), command=r"printf '\377\000a'")["output"] == "\ufffd\0a"


@pytest.mark.usefixtures("allowed", "confined")
def test_ctrl_c_ends_the_command(use: Use) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        use(Run(), command="sleep 98764; echo over")
    assert ended("sleep\x0098764")


@pytest.mark.usefixtures("allowed", "confined")
def test_cancellation_ends_the_command(use: Use, place: Workplace) -> None:
    threading.Timer(0.3, place.cancel.request_stop).start()
    with pytest.raises(Interrupted):
        use(Run(), command="sleep 98765")
    assert ended("sleep\x0098765")


# The environment


@pytest.mark.usefixtures("allowed", "confined")
def test_secrets_are_not_handed_on(
    use: Use, place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "k-12345")
    monkeypatch.setenv("MY_TOKEN", "named")
    monkeypatch.setenv("LC_TIME", "C")
    place.permissions.settings = replace(place.settings, run_environment=("MY_TOKEN",))
    output = use(Run(), command="env")["output"]
    assert "k-12345" not in output
    assert "MY_TOKEN=named" in output
    assert "LC_TIME=C" in output
    assert "PAGER=cat" in output


@pytest.mark.usefixtures("allowed")
def test_a_command_with_a_nul(use: Use) -> None:
    with pytest.raises(SkillFailed, match="it cannot be started"):
        use(Run(), command="ls \0")


def test_variables_are_named_in_the_environment() -> None:
    read = settings.from_environment({"HARNESS_RUN_ENV": "A, B", "HARNESS_RUN_NETWORK": "1"})
    assert (read.run_environment, read.run_network) == (("A", "B"), True)
    read = settings.from_environment({})
    assert (read.run_environment, read.run_network) == ((), False)


def test_the_path_has_no_relative_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", ".:/bin::bin:/usr/bin")
    assert environment_of(())["PATH"] == "/bin:/usr/bin"
    monkeypatch.delenv("PATH")
    assert environment_of(())["PATH"]


# Scripts of skills


@pytest.fixture
def skill(place: Workplace) -> Workplace:
    folder = place.settings.config_dir / "skills" / "mine"
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "hello.sh").write_text("echo hello $1 from $PWD\n")
    return replace(place, skills={"mine": folder})


@pytest.mark.usefixtures("confined")
def test_a_script_of_a_skill(use: Use, skill: Workplace, user: User, confined: bool) -> None:
    script = skill.skills["mine"] / "scripts" / "hello.sh"
    always = f"always: run exactly `sh {script} you` in the sandbox for /mine"
    user.answer = always if confined else "yes"
    for command in ("sh scripts/hello.sh you", f"sh {script} you"):
        done = use(Run(), at=skill, command=command)
        assert done == {"exit_code": 0, "output": f"hello you from {skill.project}\n"}
    assert len(user.questions) == (1 if confined else 2), "an interpreter runs any code"
    assert f"/mine wants to run `sh {script} you`." in user.questions[0]
    user.answer = "no"
    with pytest.raises(NotAllowed):
        use(Run(), command="sh scripts/hello.sh you")
    with pytest.raises(NothingFound):
        use(Run(), at=skill, command=f"scripts/{'a' * 5000}")
    (skill.skills["mine"] / "scripts" / "out.sh").symlink_to("/bin/true")
    with pytest.raises(NothingFound):
        use(Run(), at=skill, command="scripts/out.sh")


# The sandbox


def blocked(use: Use, command: str) -> bool:
    return bool(use(Run(), command=command)["exit_code"] != 0)


@needs_sandbox
@pytest.mark.usefixtures("allowed")
def test_the_sandbox_allows_writing_below_the_project_alone(project: Path, use: Use) -> None:
    outside = project.parent / "outside.txt"
    use(Run(), command=f"echo x > {outside}")  # writes to the sandbox's /tmp
    (project / "link").symlink_to(project.parent)
    use(Run(), command="echo x > link/outside.txt")
    assert blocked(use, "echo x > /etc/outside.txt")
    assert not outside.exists()
    assert not blocked(use, "echo x > /tmp/mine; cat /tmp/mine")
    assert not Path("/tmp/mine").exists()
    assert not blocked(use, "mkdir sub; echo x > sub/a; rm -r sub")


@needs_sandbox
@pytest.mark.usefixtures("allowed")
def test_the_sandbox_has_no_network(use: Use, place: Workplace) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)"
        assert "OSError" in (output := use(Run(), command=f'python3 -c "{connect}"')["output"]) or (
            "refused" in output
        )
        place.permissions.settings = replace(place.settings, run_network=True)
        assert not blocked(use, f'python3 -c "{connect}"')


@needs_sandbox
@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    "command",
    [
        "mkdir -p skills/x && echo x > skills/x/SKILL.md",
        "mkdir -p .agents/skills/x && echo x > .agents/skills/x/SKILL.md",
        "mv skills other && mkdir skills && echo x > skills/SKILL.md",
        "mv .agents other && mkdir -p .agents/skills && echo x > .agents/skills/SKILL.md",
        "rm -r skills && ln -s docs skills",
        "ln skills/kept/SKILL.md hard && echo x > hard",
        "ln -s skills soft && echo x > soft/kept/SKILL.md",
        "mount --bind docs skills && echo x > skills/SKILL.md",
        "umount skills && echo x > skills/SKILL.md",
        "chmod -R 777 skills && echo x > skills/kept/SKILL.md",
        "echo x > ../config/trusted.json",
        "echo x > ../config/permissions.json",
        "echo x > registry.d/evil.yaml",
        "mkdir -p .git/hooks && echo x > .git/hooks/pre-commit",
        "echo x > .git/config",
        "mv .git other && mkdir .git && echo x > .git/config",
        "rm -rf .git && ln -s docs .git",
        "echo x > AGENTS.md",
        "cp registry.yaml AGENTS.md",
        "rm AGENTS.md && echo x > AGENTS.md",
        "mv docs AGENTS.md",
        "echo x > .mcp.json",
        "ln -s registry.yaml .mcp.json",
        "python3 -c \"import os; os.replace('registry.yaml', '.mcp.json')\"",
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_protected_places_are_read_only(
    project: Path, place: Workplace, use: Use, command: str, exists: bool
) -> None:
    (project / "docs").mkdir()
    registry = project / "registry.yaml"
    registry.write_text("models: {}")
    place.permissions.settings = replace(place.settings, user_registry=registry)
    for folder in ("skills", ".agents/skills", "registry.d"):
        if exists:
            (project / folder / "kept").mkdir(parents=True)
            (project / folder / "kept" / "SKILL.md").write_text("kept")
    for file in (".git/config", "AGENTS.md", ".mcp.json"):
        if exists:
            (project / file).parent.mkdir(exist_ok=True)
            (project / file).write_text("kept")
    before = sorted(path.relative_to(project) for path in project.rglob("*"))
    assert blocked(use, command)
    left = {path.relative_to(project) for path in project.rglob("*")} - {Path("hard"), Path("soft")}
    assert sorted(left) == before
    files = [path for path in project.rglob("*") if path.is_file() and path != registry]
    assert all(path.read_text() == "kept" for path in files if path.name not in ("hard", "soft"))
    assert not [*place.settings.config_dir.iterdir()]


@needs_sandbox
@pytest.mark.usefixtures("allowed")
def test_git_works_in_the_sandbox_without_writing_its_files(project: Path, use: Use) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    (project / "a.txt").write_text("one\n")
    assert use(Run(), command="git status --short")["output"] == "?? a.txt\n"
    assert blocked(use, "git config core.fsmonitor ./evil.sh")
    assert blocked(use, "git add a.txt")


@pytest.mark.usefixtures("allowed", "confined")
def test_files_that_look_like_a_repository_configure_nothing(project: Path, use: Use) -> None:
    subprocess.run(["git", "init", "-q", "--bare"], cwd=project, check=True)
    (project / "evil.sh").write_text("#!/bin/sh\ntouch ran\n")
    (project / "evil.sh").chmod(0o755)
    for setting in ("core.bare=false", "core.worktree=.", "core.fsmonitor=./evil.sh"):
        subprocess.run(["git", "config", *setting.split("=")], cwd=project, check=True)
    assert use(Run(), command="git status")["exit_code"] != 0
    assert not (project / "ran").exists()


@needs_sandbox
@pytest.mark.usefixtures("allowed")
def test_a_project_within_a_protected_place_is_read_only(
    project: Path, use: Use, place: Workplace
) -> None:
    place.permissions.settings = replace(place.settings, config_dir=project.parent)
    assert blocked(use, "echo x > a.txt")


def test_a_missing_sandbox_is_reported_once(
    use: Use, place: Workplace, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_command, "no_sandbox", lambda: "bubblewrap is not installed")
    user.answer, tool = "yes", Run()
    use(tool, command="true")
    use(tool, command="true")
    notice = "commands of the model run without a sandbox: bubblewrap is not installed\n"
    assert place.screen.err.getvalue() == notice  # type: ignore[attr-defined]
    assert "with all your rights (bubblewrap is not installed)" in user.questions[0]


@pytest.mark.parametrize(
    ("program", "reason"),
    [("exit 0", ""), ("echo 'no user namespaces' >&2; exit 1", "does not work: no user namesp")],
)
def test_the_sandbox_is_found_at_run_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    look: Callable[[], str] = run_command.no_sandbox.__wrapped__
    monkeypatch.setattr(run_command.sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look() == "bubblewrap is not installed"
    (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "bwrap").chmod(0o755)
    assert look().startswith(f"bubblewrap {reason}" if reason else "")
    assert bool(look()) is bool(reason)
    monkeypatch.setattr(run_command.sys, "platform", "darwin")
    assert look() == "no sandbox is available for darwin"
    assert run_command.SECONDS < run_command.MOST_SECONDS


def test_always_for_a_command_runs_without_asking(use: Use, place: Workplace, user: User) -> None:
    user.answer = "always: run exactly `echo one`"
    use(Run(), command="echo one")
    user.answer = "always: run `ls`, which only reads"
    use(Run(), command="ls -1")
    user.answer = "no"
    assert use(Run(), command="echo one")["output"] == "one\n"
    assert use(Run(), command="ls -la .")["exit_code"] == 0
    for command in ("echo one; echo two", "echo one two", "ls .."):
        with pytest.raises(NotAllowed):
            use(Run(), command=command)
    assert Permissions(place.settings, None).answers.given()
