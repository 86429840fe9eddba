"""write_file: the differences that are shown, and what may not be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import InputError, NotAllowed, OutputError, UsageError
from harness.permissions import Permissions
from harness.tools.builtin_tools import Workplace
from harness.tools.file_tools import WriteFile

if TYPE_CHECKING:
    from conftest import Use, User


def test_a_new_file(project: Path, use: Use, user: User) -> None:
    user.answer = "yes"
    done = use(WriteFile(), path="docs/a.md", content="# Title\ntext\n")
    assert done == {"path": "docs/a.md", "bytes": 13, "created": True}
    assert (project / "docs/a.md").read_text() == "# Title\ntext\n"
    where = project / "docs" / "a.md"
    assert user.questions == [
        f"(a new file)\n+# Title\n+text\nThe model wants to write {where}. Allow it?"
    ]


def test_a_changed_file_is_shown_as_differences(project: Path, use: Use, user: User) -> None:
    (project / "a.md").write_text("one\ntwo\nthree\n")
    (project / "a.md").chmod(0o640)
    user.answer = "yes"
    use(WriteFile(), path="a.md", content="one\n2\nthree\n")
    assert user.questions[0].startswith("@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\nThe model wants")
    assert (project / "a.md").read_text() == "one\n2\nthree\n"
    assert (project / "a.md").stat().st_mode & 0o777 == 0o640


def test_nothing_is_written_if_the_user_refuses(project: Path, use: Use) -> None:
    with pytest.raises(NotAllowed):
        use(WriteFile(), path="docs/a.md", content="x")
    assert not [*project.iterdir()]


def test_a_passage_is_replaced(project: Path, use: Use, user: User) -> None:
    user.answer = "yes"
    (project / "a.md").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    use(WriteFile(), path="a.md", content="2\n3", replaces="two\nthree")
    assert (project / "a.md").read_bytes() == b"one\r\n2\r\n3\r\n"
    for passage, count in {"x": 0, "\r\n": 3}.items():
        with pytest.raises(UsageError, match=f"the passage to replace occurs {count} times"):
            use(WriteFile(), path="a.md", content="y", replaces=passage)


def test_a_file_that_changes_during_the_question_is_kept(
    project: Path, use: Use, place: Workplace
) -> None:
    (project / "a.md").write_text("one\n")

    def choose(question: str, choices: Sequence[str]) -> str:
        (project / "a.md").write_text("mine\n")
        return "yes"

    at = replace(place, permissions=Permissions(place.settings, choose))
    with pytest.raises(OutputError, match="was changed while the user was asked"):
        use(WriteFile(), at=at, path="a.md", content="theirs")
    assert (project / "a.md").read_text() == "mine\n"


def test_what_is_no_utf8_text_is_not_replaced(project: Path, use: Use, user: User) -> None:
    user.answer = "yes"
    (project / "a.bin").write_bytes(b"\0\1")
    (project / "a.txt").write_bytes("Käse".encode("cp1252"))
    (project / "folder").mkdir()
    for path, message in {
        "a.bin": "is binary",
        "a.txt": "is in cp1252",
        "folder": "is a folder",
    }.items():
        with pytest.raises(InputError, match=message):
            use(WriteFile(), path=path, content="x")
    with pytest.raises(UsageError, match="content: more than 1 MB"):
        use(WriteFile(), path="b.txt", content="x" * 1_000_001)
    with pytest.raises(UsageError, match="content: character 0 is not text"):
        use(WriteFile(), path="b.txt", content="\ud800")


def test_a_long_difference_is_computed_in_time(project: Path, use: Use, user: User) -> None:
    lines = [f"{number % 7}" for number in range(100_000)]
    (project / "a.txt").write_text("\n".join(lines))
    user.answer = "yes"
    lines[50_000] = "changed"
    use(WriteFile(), path="a.txt", content="\n".join(lines))
    assert user.questions[0].startswith("@@ from line 50001 @@\n-6\n+changed\nThe model")


@pytest.mark.parametrize("path", ["link/a.md", "../a.md", "/nowhere/a.md"])
def test_the_question_names_the_real_place(project: Path, use: Use, user: User, path: str) -> None:
    (project / "link").symlink_to(project.parent)
    with pytest.raises(NotAllowed):
        use(WriteFile(), path=path, content="x")
    assert str((project / path).resolve()) in user.questions[0]


def test_a_passage_elsewhere_is_not_a_way_to_read(project: Path, use: Use, user: User) -> None:
    (project.parent / "secret").write_text("password")
    with pytest.raises(NotAllowed, match="to read"):
        use(WriteFile(), path="../secret", content="x", replaces="pass")


@pytest.mark.parametrize("path", ["skills/x/SKILL.md", "link/x/SKILL.md", "sub/../skills/x.md"])
def test_protected_places(project: Path, place: Workplace, use: Use, path: str) -> None:
    (project / "link").symlink_to(project / "skills")
    place.permissions._yes = True
    with pytest.raises(NotAllowed, match="control the harness"):
        use(WriteFile(), path=path, content="x")
    assert not (project / "skills").exists()
