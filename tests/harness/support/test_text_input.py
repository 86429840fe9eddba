"""Input of skills: the text of the line, or the file that it names."""

from __future__ import annotations

import io

import pytest

from harness import Call, InputError, Result, Skill
from harness.runs.frontend import Frontend
from harness.support.text_input import well_formed
from harness.testing import FakeModel, fake_app, run_skill

LONG = "word " * 40 + "and the end stands in notes.md"


class Read(Skill):
    name = "read"
    summary = "gives back what it reads"

    def run(self, call: Call) -> Result:
        return Result(call.read_text())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("in the file\n")
    (tmp_path / "two words.md").write_text("in the other")
    (tmp_path / "plain").write_text("without a suffix")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a.txt", "in the file\n"),
        ("./a.txt", "in the file\n"),
        ("two words.md", "in the other"),
        ('"two words.md"', "in the other"),
        ("plain", "without a suffix"),
        ("What's up", "What's up"),
        ("one\na.txt", "one\na.txt"),
        (LONG, LONG),
    ],
)
def test_input_is_a_text_or_a_file(text, read):
    assert run_skill(Read(), text).text == read


def test_stdin_is_never_a_path(folder):
    door = Frontend("test", stdin=io.BytesIO(b"a.txt"))
    assert fake_app(folder, None, Read(), door=door).dispatch("/read -").result.text == "a.txt"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("b.txt", "there is no such file"),
        ("sub/b", "there is no such file"),
        ("paper.pdf", ".pdf files are not supported here. Save the text as .txt or .md."),
        ("empty.txt", "empty.txt: is empty. Put a text into the file."),
        ("latin.txt", "is not UTF-8 text (byte 1 is 0xe4)"),
        ("big.txt", "has 1.0 MB, too much for a text. Give a part of the text."),
    ],
)
def test_unreadable_files_are_refused(folder, text, reason):
    (folder / "empty.txt").touch()
    (folder / "latin.txt").write_bytes(b"M\xe4rz")
    (folder / "big.txt").write_bytes(b"x" * 1_000_001)
    with pytest.raises(InputError) as refused:
        run_skill(Read(), text)
    assert reason in str(refused.value)


def test_a_prompt_skill_reads_files(folder):
    (folder / "skills" / "rhyme").mkdir(parents=True)
    (folder / "skills" / "rhyme" / "SKILL.md").write_text(
        "---\nname: rhyme\ndescription: Make it rhyme\n---\nAnswer in rhyme.\n"
    )
    model = FakeModel("Roses are red")
    fake_app(folder, model).dispatch("/rhyme a.txt")
    assert model.requests[0].messages[1].content == "/rhyme in the file\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("\N{GRINNING FACE}", "\N{GRINNING FACE}"),
        ("\ud83d\ude00", "\N{GRINNING FACE}"),
        ("a\ud83d b\udc00", "a\ufffd b\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("", ""),
    ],
)
def test_halves_are_joined_or_replaced(text: str, expected: str) -> None:
    assert well_formed(text) == expected
