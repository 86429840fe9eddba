"""Placeholders in the instructions of a skill."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.agent_skills.prompt_skill import substitute

FOLDER = Path("/skills/review")


@pytest.mark.parametrize(
    ("body", "arguments", "expected"),
    [
        ("Fix $ARGUMENTS now.", "issue 12", "Fix issue 12 now."),
        ("Fix $ARGUMENTS", "", "Fix "),
        ("$1 to $2, $1", "a b", "a to b, a"),
        ("$1 and $2", "'two words' x", "two words and x"),
        ("$1 and $2", "don't stop", "don't and stop"),
        ("$1 and $2", "one", "one and $2"),
        ("$10, $1", "a b c d e f g h i j", "j, a"),
        ("$0 $1.50 $100 $1,000 US$2", "a", "$0 $1.50 $100 $1,000 US$2"),
        ("Say $1.", "hello", "Say hello."),
        ("$ARGUMENTSX $ARGUMENT", "a", "$ARGUMENTSX $ARGUMENT"),
        ("{baseDir}/a ${CLAUDE_SKILL_DIR}/b", "", "/skills/review/a /skills/review/b"),
        ("${CLAUDE_PLUGIN_ROOT}/x", "", "/skills/review/x"),
        ("$ARGUMENTS", "$1 {baseDir} $ARGUMENTS", "$1 {baseDir} $ARGUMENTS"),
        ("$1", "$ARGUMENTS", "$ARGUMENTS"),
        ("awk '{print $3}'", "a b", "awk '{print $3}'"),
    ],
)
def test_placeholders_are_replaced_in_one_pass(body: str, arguments: str, expected: str) -> None:
    assert substitute(body, arguments, FOLDER) == expected


def test_the_root_of_a_plugin_is_the_folder_with_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "tools" / ".claude-plugin").mkdir(parents=True)
    folder = tmp_path / "tools" / "skills" / "review"
    folder.mkdir(parents=True)
    root = str(tmp_path / "tools")
    assert substitute("${CLAUDE_PLUGIN_ROOT}", "", folder) == root
