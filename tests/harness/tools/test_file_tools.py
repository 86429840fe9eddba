"""read_file, list_files, search_files and write_file: limits, links, and differences."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import InputError, Interrupted, NotAllowed, OutputError, UsageError
from harness.permissions import Permissions
from harness.tools import file_tools
from harness.tools.builtin_tools import Workplace
from harness.tools.file_tools import ListFiles, ReadFile, SearchFiles, WriteFile

if TYPE_CHECKING:
    from conftest import Use, User


OUTSIDE = [
    "/etc/hostname",
    "../secret.txt",
    "link.txt",
    "sub/../../secret.txt",
    "folder/secret.txt",
]


def test_a_file_is_read_without_asking(project: Path, use: Use, user: User) -> None:
    (project / "a.txt").write_text("one\ntwo\nthree\n")
    assert use(ReadFile(), path="a.txt") == {"path": "a.txt", "text": "one\ntwo\nthree", "lines": 3}
    part = use(ReadFile(), path=str(project / "a.txt"), offset=2, limit=1)
    assert part == {"path": "a.txt", "text": "two", "lines": 3, "next_offset": 3}
    assert not user.questions


def test_offset_beyond_the_end(project: Path, use: Use) -> None:
    (project / "a.txt").write_text("one\n")
    with pytest.raises(InputError, match="ends at line 1"):
        use(ReadFile(), path="a.txt", offset=2)
    (project / "empty").touch()
    assert use(ReadFile(), path="empty")["text"] == ""


def test_a_long_file_is_read_in_parts(project: Path, use: Use) -> None:
    lines = [f"line {number}" for number in range(1, 5001)]
    (project / "a.txt").write_text("\n".join(lines))
    read: list[str] = []
    offset: int | None = 1
    while offset is not None:
        part = use(ReadFile(), path="a.txt", offset=offset)
        assert len(part["text"]) <= file_tools.CHARACTERS
        read += part["text"].split("\n")
        offset = part.get("next_offset")
    assert read == lines


def test_ten_megabytes_in_one_line_are_cut(project: Path, use: Use) -> None:
    (project / "a.json").write_text("x" * 10_000_000)
    part = use(ReadFile(), path="a.json")
    assert part["text"].endswith("x... (9,998,000 more characters)")
    assert len(json.dumps(part)) < 20_000


@pytest.mark.parametrize(
    ("content", "text", "encoding"),
    [
        ("Käse\n".encode("utf-8-sig"), "Käse", None),
        ("Käse\n".encode("utf-16"), "Käse", "utf-16"),
        ("Käse\n".encode("cp1252"), "Käse", "cp1252"),
        (b"a\r\nb\r\n", "a\nb", None),
    ],
)
def test_encodings(project: Path, use: Use, content: bytes, text: str, encoding: str) -> None:
    (project / "a.txt").write_bytes(content)
    part = use(ReadFile(), path="a.txt")
    assert (part["text"], part.get("encoding")) == (text, encoding)


def test_what_is_no_text_file_is_refused(project: Path, use: Use) -> None:
    (project / "a.bin").write_bytes(b"GIF89a\0\1\2")
    os.mkfifo(project / "pipe")
    (project / "circle").symlink_to("circle")
    with (project / "huge.txt").open("wb") as file:
        file.truncate(file_tools.MAX_READ + 1)
    for path, message in {
        "a.bin": "is a binary file of 9 bytes",
        "pipe": "it is not a regular file",
        "huge.txt": "it has more than 20 MB",
        ".": "is a folder",
        "missing.txt": "there is no such file",
        "a\0b": "it cannot be a path",
        "circle": "it cannot be a path",
        "a" * 5000: "File name too long",
    }.items():
        with pytest.raises(InputError, match=message):
            use(ReadFile(), path=path)


@pytest.mark.parametrize("path", OUTSIDE)
def test_files_elsewhere_are_asked_about(project: Path, use: Use, user: User, path: str) -> None:
    (project.parent / "secret.txt").write_text("secret")
    (project / "sub").mkdir()
    (project / "link.txt").symlink_to(project.parent / "secret.txt")
    (project / "folder").symlink_to(project.parent)
    with pytest.raises(NotAllowed):
        use(ReadFile(), path=path)
    [question] = user.questions
    real = str((project / path).resolve())
    assert question == f"The model wants to read {real}. Allow it?"
    user.answer = "yes"
    assert use(ReadFile(), path=path)["path"] == real


def test_own_files_of_the_harness_are_asked_about_within_the_project(
    place: Workplace, use: Use, user: User
) -> None:
    """The project may be the user's home folder."""
    settings = replace(place.settings, project_dir=place.project.parent)
    place.permissions.settings = settings
    (settings.config_dir / "registry.yaml").write_text("api_key: secret")
    with pytest.raises(NotAllowed):
        use(ReadFile(), path="config/registry.yaml")
    assert use(SearchFiles(), pattern="secret") == {"matches": []}


def test_files_of_a_skill_in_use_are_read_without_asking(
    project: Path, place: Workplace, use: Use, user: User
) -> None:
    folder = project.parent / "config" / "skills" / "mine"
    folder.mkdir(parents=True)
    (folder / "guide.md").write_text("Step 1")
    (folder / "out.md").symlink_to("/etc/hostname")
    at = replace(place, skills={"mine": folder})
    assert use(ReadFile(), at=at, path=str(folder / "guide.md"))["text"] == "Step 1"
    assert not user.questions
    with pytest.raises(NotAllowed):
        use(ReadFile(), at=at, path=str(folder / "out.md"))
    with pytest.raises(NotAllowed):
        use(ReadFile(), path=str(folder / "guide.md"))


def test_a_list_of_files(project: Path, use: Use) -> None:
    for name in ("src/a.py", "src/deep/b.py", ".git/config", "README.md"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    assert use(ListFiles())["entries"] == ["README.md", "src/"]
    everything = ["README.md", "src/", "src/a.py", "src/deep/", "src/deep/b.py"]
    assert use(ListFiles(), recursive=True)["entries"] == everything
    assert use(ListFiles(), pattern="*.py", recursive=True)["entries"] == [
        "src/a.py",
        "src/deep/b.py",
    ]
    with pytest.raises(InputError, match="there is no such folder"):
        use(ListFiles(), path="nowhere")
    with pytest.raises(InputError, match="is not a folder"):
        use(ListFiles(), path="README.md")


def test_a_long_list_is_cut(project: Path, use: Use) -> None:
    for number in range(file_tools.ENTRIES + 1):
        (project / f"{number:04}").touch()
    listed = use(ListFiles())
    assert len(listed["entries"]) == file_tools.ENTRIES
    assert listed["incomplete"] == "only the first 500 entries are listed"


def test_a_folder_elsewhere_is_asked_about(project: Path, use: Use, user: User) -> None:
    for tool in (ListFiles(), SearchFiles()):
        more = {"pattern": "x"}
        with pytest.raises(NotAllowed):
            use(tool, path="..", **more)
    user.answer = "always"
    use(ListFiles(), path="..")
    assert "everything below" in str(user.questions) or len(user.questions) == 3


def test_a_search(project: Path, use: Use) -> None:
    (project / ".git").mkdir()
    (project / ".git" / "config").write_text("needle")
    (project / "a.py").write_text("first\nsecond needle needle\n")
    (project / "b.txt").write_bytes(b"x\r\nneedle\r\n")
    (project / "c.bin").write_bytes(b"needle\0")
    (project / "d.py").write_text("y" * 900 + "needle" + "z" * 900)
    found = use(SearchFiles(), pattern="ne+dle")["matches"]
    assert found[:2] == ["a.py:2: second needle needle", "b.txt:2: needle"]
    assert found[2].startswith("d.py:1: ...yyy")
    assert "needle" in found[2]
    assert len(found[2]) < 230
    assert len(found) == 3
    assert use(SearchFiles(), pattern="^needle$", files="*.txt")["matches"] == ["b.txt:2: needle"]
    assert use(SearchFiles(), pattern="needle", path="a.py")["matches"] == [found[0]]


def test_a_search_does_not_follow_links_out(project: Path, use: Use, user: User) -> None:
    (project.parent / "secret.txt").write_text("needle")
    (project / "link.txt").symlink_to(project.parent / "secret.txt")
    (project / "folder").symlink_to(project.parent)
    (project / "circle").symlink_to("circle")
    assert use(SearchFiles(), pattern="needle") == {"matches": []}
    assert use(ListFiles())["entries"] == ["circle", "folder/", "link.txt"]
    assert not user.questions


def test_a_search_without_matches_ends_in_time(
    project: Path, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (project / f"{number}.txt").write_text("nothing\n")
    monkeypatch.setattr(file_tools, "SECONDS", 0.0)
    found = use(SearchFiles(), pattern="gone")
    assert found["incomplete"] == "not finished within 0 s"


def test_a_search_without_matches_can_be_stopped(project: Path, place: Workplace) -> None:
    (project / "a.txt").write_text("nothing\n")
    place.cancel.set()
    with pytest.raises(Interrupted):
        SearchFiles().call(SearchFiles.Arguments(pattern="gone"), place)


def test_a_search_has_limits(project: Path, use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "many.txt").write_text("needle\n" * 1000)
    found = use(SearchFiles(), pattern="needle")
    assert len(found["matches"]) == file_tools.MATCHES
    assert found["incomplete"] == "only the first 100 matches are listed"
    monkeypatch.setattr(file_tools, "SECONDS", 0.2)
    (project / "slow.txt").write_text("a" * 5000)
    found = use(SearchFiles(), pattern="(a|a|aa)+$x", path="slow.txt")
    assert "incomplete" in found


def test_an_invalid_expression(use: Use) -> None:
    with pytest.raises(UsageError, match="pattern: not a regular expression: missing \\)"):
        use(SearchFiles(), pattern="(a")


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
