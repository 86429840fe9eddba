"""docs/writing-skills.md: its commands are run, and its snippets are cut from tested files."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import skill_project
from repository import TEST_DATA
from skill_project import GIST

from harness.agent_skills import skill_md
from harness.settings import CODE_ROOT

WRITING = TEST_DATA / "writing"
PAGE = (CODE_ROOT / "docs" / "writing-skills.md").read_text(encoding="utf-8")
sys.path.insert(0, str(CODE_ROOT / "docs"))
import snippets  # noqa: E402  docs/ is no package


def own_python(folder: Path) -> Path:
    """The scripts folder of an environment that inherits the packages of this one."""
    venv.create(folder, symlinks=True)
    variables = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", variables))
    shared = sysconfig.get_path("purelib")
    (site / "shared.pth").write_text(
        f"{CODE_ROOT}\nimport site; site.addsitedir({shared!r})\n", encoding="utf-8"
    )
    return Path(sysconfig.get_path("scripts", "venv", variables))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the walk-through is written for a POSIX shell")
@pytest.mark.timeout(600)
def test_walkthrough_works(tmp_path, monkeypatch):
    project = skill_project.make(tmp_path, monkeypatch)
    for name in ("agent.py", "examples"):
        (project / name).symlink_to(CODE_ROOT / name)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", WRITING / "walkthrough.sh"],
        capture_output=True,
        text=True,
        cwd=project,
        env={
            **kept,
            "WRITING": str(WRITING),
            "PATH": f"{own_python(tmp_path / 'venv')}{os.pathsep}{os.environ['PATH']}",
            # pip uses the build backend of this environment, and fetches nothing.
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_NO_INDEX": "1",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith((WRITING / "made.txt").read_text())
    assert done.stdout.count(GIST) == 5
    assert (project / "gist.md").read_text() == GIST + "\n"
    assert "6 passed" in done.stdout
    assert "7 passed" in done.stdout
    assert re.search(r"/summarize +harness-summarize 0\.1\.0 ", done.stdout)
    assert re.search(r"/gist +\S+skills/gist ", done.stdout)


def test_every_block_of_the_page_is_a_snippet():
    assert snippets.fill(PAGE) == PAGE
    blocks = re.findall(r"(.*)\n```\w+\n", PAGE)
    assert len(blocks) > 8
    assert [mark for mark in blocks if not mark.startswith("<!-- snippet: ")] == []


def test_every_command_of_the_walkthrough_is_shown():
    script = (WRITING / "walkthrough.sh").read_text(encoding="utf-8")
    for name in re.findall(r"# -- start (\S+) --", script):
        assert f"walkthrough.sh#{name} -->" in PAGE


def test_only_marked_blocks_are_replaced():
    page = "a\n<!-- snippet: new-skill:prompt/SKILL.md -->\n```markdown\nold\n```\n```sh\nb\n```\n"
    made = snippets.fill(page)
    assert "old" not in made
    assert "name: summarize" in made
    assert made.endswith("```\n```sh\nb\n```\n")


@pytest.mark.parametrize(
    "source",
    [
        "tests/no-such-file",
        "tests/data/writing/plugin.py#no-such-mark",
        "new-skill:plugin/no-such-file",
    ],
)
def test_mark_without_a_source_is_an_error(source):
    with pytest.raises(ValueError, match="no-such"):
        snippets.fill(f"<!-- snippet: {source} -->\n```text\n```\n")


def test_example_skills_follow_the_specification():
    found = [skill_md.read(path) for path in CODE_ROOT.glob("examples/skills/*/SKILL.md")]
    names = {"add-to-agent", "blind-check", "commit-message"}
    assert {file.name for file in found} == names
    assert {file.problems for file in found} == {()}
