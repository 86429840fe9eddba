"""docs/writing-skills.md, followed from its first command to its last, and cut from what ran."""

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
    """The scripts of an environment that has all of this one's packages, and its own to install."""
    venv.create(folder, symlinks=True)
    variables = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", variables))
    shared = sysconfig.get_path("purelib")
    (site / "shared.pth").write_text(
        f"{CODE_ROOT}\nimport site; site.addsitedir({shared!r})\n", encoding="utf-8"
    )
    return Path(sysconfig.get_path("scripts", "venv", variables))


@pytest.mark.skipif(os.name == "nt", reason="the walk-through is written for a POSIX shell")
@pytest.mark.timeout(600)
def test_the_walk_through_works_as_it_stands(tmp_path, monkeypatch):
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
            # The build backend of this environment, so that nothing has to be fetched.
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_NO_INDEX": "1",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith((WRITING / "made.txt").read_text())
    assert done.stdout.count(GIST) == 5
    assert (project / "gist.md").read_text() == GIST + "\n"
    assert "5 passed" in done.stdout
    assert "6 passed" in done.stdout
    assert re.search(r"/summarize +harness-summarize 0\.1\.0 ", done.stdout)
    assert re.search(r"/gist +\S+skills/gist ", done.stdout)


def test_every_block_of_the_page_is_cut_from_what_runs():
    assert snippets.fill(PAGE) == PAGE
    blocks = re.findall(r"(.*)\n```\w+\n", PAGE)
    assert len(blocks) > 8
    assert [mark for mark in blocks if not mark.startswith("<!-- snippet: ")] == []


def test_every_command_of_the_walk_through_is_shown():
    script = (WRITING / "walkthrough.sh").read_text(encoding="utf-8")
    for name in re.findall(r"# -- start (\S+) --", script):
        assert f"walkthrough.sh#{name} -->" in PAGE


def test_a_stale_block_is_written_anew_and_what_is_not_marked_stays():
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
def test_a_mark_that_leads_nowhere_is_told(source):
    with pytest.raises(ValueError, match="no-such"):
        snippets.fill(f"<!-- snippet: {source} -->\n```text\n```\n")


def test_the_skills_of_the_examples_follow_the_specification():
    found = [skill_md.read(path) for path in CODE_ROOT.glob("examples/skills/*/SKILL.md")]
    assert [file.name for file in found] == ["blind-check"]
    assert [file.problems for file in found] == [()]
