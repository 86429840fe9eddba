"""read_file, list_files and search_files: what they return, refuse, and ask about."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import InputError, Interrupted, NotAllowed, UsageError
from harness.tools import file_tools
from harness.tools.builtin_tools import Workplace
from harness.tools.file_tools import ListFiles, ReadFile, SearchFiles

if TYPE_CHECKING:
    from conftest import Use, User


def test_a_file_is_read_without_asking(project: Path, use: Use, user: User) -> None:
    (project / "a.txt").write_text("one\ntwo\nthree\n")
    assert use(ReadFile(), path="a.txt") == {"path": "a.txt", "text": "one\ntwo\nthree", "lines": 3}
    part = use(ReadFile(), path=str(project / "a.txt"), offset=2, limit=1)
    assert part == {"path": "a.txt", "text": "two", "lines": 3, "next_offset": 3}
    assert not user.questions


def test_offset_beyond_the_end(project: Path, use: Use) -> None:
    (project / "a.txt").write_text("one\n")
    with pytest.raises(InputError, match="has only 1 lines"):
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


OUTSIDE = [
    "/etc/hostname",
    "../secret.txt",
    "link.txt",
    "sub/../../secret.txt",
    "folder/secret.txt",
]


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
