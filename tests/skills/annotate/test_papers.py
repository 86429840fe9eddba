"""The kinds of input, and the errors for unusable ones."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from annotate_workspace import Workspace

from harness.api.skill import Source
from harness.errors import HarnessError, InputError, InvalidReply, NothingFound, UsageError
from skills.annotate import papers
from skills.annotate.abstract_text import read_paper, title_and_abstract
from skills.annotate.papers import arxiv_id_in, check_length, recognize
from skills.corpus.lookups import id_list
from skills.corpus.tables import markdown_lists
from skills.nanda.paper import Paper

WORDS = "We present a tool that finds faults in the plans of language agents. "
ABSTRACT = (WORDS * 4).strip()
ONE = f"Our method 1 is new. {WORDS}"


def read(text: str, source: Source = "line", max_words: int = 1500) -> Paper:
    paper = read_paper(recognize(text, source))
    check_length(paper, max_words)
    return paper


def is_topic(text: str) -> bool:
    return recognize(text).kind == "topic"


def refused(text: str, source: Source = "line", max_words: int = 1500) -> InputError:
    with pytest.raises(InputError) as caught:
        read(text, source, max_words)
    assert caught.value.exit_code == 2
    assert str(caught.value).count("\n") == 0
    return caught.value


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_forty_words_are_an_abstract() -> None:
    forty = " ".join(["word"] * 40)
    paper = read(forty)
    assert (paper.abstract, paper.title, paper.source) == (forty, "", {"kind": "text"})
    assert paper.id_field == "id"
    assert paper.id == paper.sha256[:12]
    assert not is_topic(forty)
    assert is_topic(" ".join(["word"] * 39))


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("We show that planning ahead halves the faults of agents in shells.", False),
        ("We show that planning ahead halves the faults of agents.", True),  # ten words are too few
        ("Agents fail often. We show that planning ahead halves their faults in shells", False),
        ("a survey of planning for language agents that act in shells and browsers", True),
        ("methods after Smith et al. for retrieval with language models in medicine and law", True),
        ("What do language agents that act in shells do about commands that destroy files?", True),
        ("Do agents plan? We show that most of them never plan beyond one step", False),
    ],
)
def test_twelve_words_with_a_sentence_end_are_an_abstract(text: str, topic: bool) -> None:
    assert is_topic(text) == topic
    assert read(text).abstract == text


def test_the_id_does_not_depend_on_line_breaks() -> None:
    assert read(ABSTRACT).id == read(ABSTRACT.replace(" ", "\n ")).id
    assert read(ABSTRACT).id != read(f"{ABSTRACT} More.").id


@pytest.mark.parametrize(
    ("text", "arxiv_id"),
    [
        ("2405.12345", "2405.12345"),
        ("2405.12345v2", "2405.12345v2"),
        ("0704.0001", "0704.0001"),
        ("arXiv:2405.12345", "2405.12345"),
        ("arxiv: 2405.12345v1", "2405.12345v1"),
        ("hep-th/9901001", "hep-th/9901001"),
        ("cs.AI/0112017v3", "cs.AI/0112017v3"),
        ("https://arxiv.org/abs/2405.12345", "2405.12345"),
        ("http://www.arxiv.org/abs/2405.12345v2?context=cs", "2405.12345v2"),
        ("https://arxiv.org/pdf/2405.12345v2.pdf", "2405.12345v2"),
        ("arxiv.org/abs/cs/0112017", "cs/0112017"),
        ("https://export.arxiv.org/html/2405.12345v1#S2", "2405.12345v1"),
        ("arXiv:2405.12345v1  [cs.CL]  20 May 2024", "2405.12345v1"),
        ("arXiv:2405.12345v1 [physics.comp-ph]", "2405.12345v1"),
        ("arXiv:hep-th/9901001v3 4 Jan 1999", "hep-th/9901001v3"),
        ("2405.10", None),
        ("3.14159", None),
        ("2405.12345 and more", None),
        ("and/or", None),
    ],
)
def test_arxiv_ids(text: str, arxiv_id: str | None) -> None:
    assert arxiv_id_in(text) == arxiv_id


@pytest.mark.parametrize("count", [2, 9, 40])
def test_several_arxiv_ids_are_refused(folder: Path, count: int) -> None:
    ids = ["https://arxiv.org/abs/cs/0112017", *(f"2405.{number:05}" for number in range(1, count))]
    for text in (" ".join(ids), ", ".join(ids)):
        assert "several arXiv ids" in str(refused(text))
    if count < 40:
        with pytest.raises(InputError, match="one arXiv id at a time"):
            is_topic(" ".join(ids))
    (folder / "ids.txt").write_text("\n".join(ids))
    assert recognize("ids.txt").kind == "ids"
    assert "contains arXiv ids, but no abstract" in str(refused(ids[0], source="stdin"))


@pytest.mark.parametrize("text", ["2301.99999x", "2413.12345", "arXiv:2405.12", "2405.1234567"])
def test_a_mistyped_arxiv_id_is_no_topic(text: str) -> None:
    assert "is not an arXiv id" in str(refused(text))
    with pytest.raises(InputError, match="is not an arXiv id"):
        is_topic(text)
    assert is_topic(f"papers after {text}")


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/paper",
        "https://arxiv.org/list/cs.AI/recent",
        "arxiv.org/abs/",
        "www.example.org",
        "https://example.org/paper.txt",
        "https://evil.example/arxiv.org/abs/2405.12345",
        "https://arxiv.org.evil.example/abs/2405.12345",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    assert "only URLs of arXiv papers" in str(refused(text))


@pytest.mark.parametrize(
    "name", ["paper.txt", "PAPER.MD", "my paper.txt", "'my paper.txt'", '"my paper.txt"', "./paper"]
)
def test_files_are_read(folder: Path, name: str) -> None:
    path = folder / name.strip("\"'")
    path.write_text(f"{ABSTRACT}\n", encoding="utf-8")
    paper = read(name)
    assert paper.abstract == ABSTRACT
    assert paper.source == {"kind": "file", "path": str(Path(name.strip("\"'")))}
    assert read(ABSTRACT).id == paper.id, "the same abstract has the same id, however it came"


def test_a_file_may_be_short_and_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "short.txt").write_text("We present one tool. It works.", encoding="utf-8")
    assert read("~/short.txt").abstract == "We present one tool. It works."


@pytest.mark.parametrize(
    "name",
    [
        "none.txt",
        "no such paper.pdf",
        "no such file.md",
        "sub/none",
        "/nowhere/at/all",
        "~nobody-here/x.txt",
    ],
)
def test_missing_files(folder: Path, name: str) -> None:
    error = refused(name)
    assert error.where == name
    assert "no such" in error.message


@pytest.mark.parametrize("name", ["paper.odt", "a/b.docx", "my paper.docx", "notes.org"])
def test_other_suffixes(folder: Path, name: str) -> None:
    error = refused(name)
    assert f"does not read {Path(name).suffix} files" in error.message
    assert ".txt and .md" in str(error.hint)


def test_a_file_without_a_known_suffix_is_still_a_file(folder: Path) -> None:
    (folder / "two words.x1").write_text(ABSTRACT, encoding="utf-8")
    assert "does not read .x1 files" in str(refused("two words.x1"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"abc\x00def", "binary file (character 4 is 0)"),
        (b"caf\xe9 and more", "not UTF-8 text (byte 3 is 0xe9)"),
        ("Text".encode("utf-16"), "UTF-16"),
        ("Text".encode("utf-32-be"), "binary"),
        (b"Only two\n", "2 words are too few for an abstract"),
        (b"One", "1 word is too few for an abstract"),
        (b"# A heading alone\n", "contains no abstract"),
        (b"word " * 40_000, "40,000 words are too many for an abstract; the maximum is 1,500"),
        (b"x" * 1_000_001, "has 1.0 MB"),
    ],
)
def test_bad_files(folder: Path, content: bytes, message: str) -> None:
    (folder / "paper.txt").write_bytes(content)
    error = refused("paper.txt")
    assert str(error.where).split(", line ")[0] == "paper.txt"
    assert message in error.message
    assert error.hint


def test_a_big_file_is_not_read(folder: Path) -> None:
    with (folder / "big.txt").open("wb") as file:
        file.truncate(50_000_000_000)
    assert "too much for an abstract" in str(refused("big.txt"))


def test_an_existing_folder_needs_no_slash(folder: Path) -> None:
    (folder / "agent papers").mkdir()
    assert recognize("agent papers").kind == "table"
    assert recognize("'agent papers'").path == Path("agent papers")
    assert recognize("agents").kind == "topic"


def test_a_file_named_like_an_old_arxiv_id_is_the_file(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "0112017").write_text(ABSTRACT)
    assert read("data/0112017").source["kind"] == "file"


def test_half_a_surrogate_pair_on_the_line_is_replaced() -> None:
    paper = read(f"{ABSTRACT} \udcff")
    assert paper.abstract == f"{ABSTRACT} \ufffd"


@pytest.mark.parametrize(
    "text", ["papers.csv", "papers.md", "ids.txt", f"Our method 1 is new. {WORDS}", "doi:10.5555/1"]
)
def test_the_input_of_a_line_is_recognized_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    workspace.rows(1, 2)
    (workspace.folder / "papers.md").write_text(f"## One\n{ABSTRACT}\n## Two\n{ABSTRACT}\n")
    (workspace.folder / "ids.txt").write_text("10.5555/1\n")
    counts: Counter[str] = Counter()

    def counted(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def call(*given: Any, **more: Any) -> Any:
            is_text = name == "is_list" and isinstance(given[0], str)
            counts[name] += not is_text
            return original(*given, **more)

        monkeypatch.setattr(owner, name, call)

    counted(papers, "recognize")
    counted(markdown_lists, "is_list")  # reads a .md file, or takes its text
    counted(id_list, "read")
    with contextlib.suppress(NothingFound, UsageError, InvalidReply):
        workspace.app.dispatch(f"/annotate {text} --db other.db")
    assert counts["recognize"] == 1
    assert max(counts.values()) == 1


@pytest.mark.parametrize(
    ("text", "kind", "variant"),
    [
        (" 2405.12345v2 ", "arxiv", "one paper"),
        ("doi:10.5555/12345", "id", "a paper by its id"),
        ("ids.txt", "ids", "a list of ids"),
        ("paper.txt", "file", "one paper"),
        ("paper.md", "file", "one paper"),
        ("list.md", "table", "a table"),
        ("none.csv", "table", "a table"),
        ("none.pdf", "pdf", "one paper"),
        ("./folder", "table", "a table"),
        (ABSTRACT, "text", "one paper"),
        ("planning for agents", "topic", "a topic"),
    ],
)
def test_kinds_of_input(folder: Path, text: str, kind: str, variant: str) -> None:
    (folder / "ids.txt").write_text("10.5555/12345\narXiv:2405.12345\n")
    (folder / "paper.txt").write_text(ABSTRACT)
    (folder / "paper.md").write_text(ABSTRACT)
    (folder / "list.md").write_text(f"## One\n{ABSTRACT}\n## Two\n{ABSTRACT}\n")
    (folder / "folder").mkdir()
    (folder / "folder" / "part-1.parquet").write_text("")
    found = recognize(text)
    assert (found.kind, found.variant) == (kind, variant)


def test_a_text_without_words_is_too_long() -> None:
    message = "30,001 characters are too many for an abstract; the maximum is 30,000"
    assert message in str(refused("a b c d e " + "x" * 29_991, source="stdin"))


def test_binary_text_from_stdin() -> None:
    assert "is binary" in str(refused(f"{ABSTRACT}\0", source="stdin"))


def test_folders_and_pipes(folder: Path) -> None:
    (folder / "sub.txt").mkdir()
    assert recognize("sub.txt").kind == recognize(str(folder)).kind == "table"
    os.mkfifo(folder / "pipe.txt")
    assert "not a regular file" in str(refused("pipe.txt"))


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> bytes:  # CI runs as root, who may read any file
        raise PermissionError(13, "Permission denied")

    (folder / "secret.txt").write_text(ABSTRACT, encoding="utf-8")
    monkeypatch.setattr(Path, "open", forbidden)
    assert "cannot be read (Permission denied)" in str(refused("secret.txt"))


def test_stdin_is_the_abstract_whatever_it_looks_like() -> None:
    paper = read("Title of it\n\nSee paper.txt or 2405.12345 there.\n", source="stdin")
    assert paper.title == "Title of it"
    assert paper.abstract == "See paper.txt or 2405.12345 there."
    assert paper.source == {"kind": "stdin"}
    assert "the stdin" in str(refused("one", source="stdin"))


def test_an_abstract_may_end_with_a_path() -> None:
    assert read(f"{ABSTRACT} The data are in ./data.txt").source == {"kind": "text"}


def test_too_long_a_line() -> None:
    assert "60 words are too many" in str(refused(" ".join(["word"] * 60), max_words=59))


@pytest.mark.parametrize("text", ["", "\0", "-", "x" * 5000, "/" + "x" * 5000])
def test_odd_texts_are_refused_like_others(text: str) -> None:
    assert isinstance(refused(text), HarnessError)


@pytest.mark.parametrize(
    ("text", "title", "abstract"),
    [
        ("We do it.\nIt works.", "", "We do it.\nIt works."),
        ("A title\n\nWe do it.", "A title", "We do it."),
        ("# A title #\nWe do it.", "A title", "We do it."),
        ("## **A title**\n\nWe do it.", "A title", "We do it."),
        ("Title: A  title\r\n\r\nWe do it.\r\n", "A title", "We do it."),
        ("\ufeff\n A title?\n \nWe do it.", "", "A title?\n \nWe do it."),
        ("We do it.\n\nIt works.", "", "We do it.\n\nIt works."),
        ("A title\n\n", "", "A title"),
        ("Two lines\nof text\n\nWe do it.", "", "Two lines\nof text\n\nWe do it."),
        ("Abstract: We do it.", "", "We do it."),
        ("ABSTRACT. We do it.", "", "We do it."),
        ("Abstract\u2014 We do it.", "", "We do it."),
        ("Abstract\u2014We do it.", "", "We do it."),
        ("_Abstract_\u2014We do it.", "", "We do it."),
        ("A title\n\nAbstract\u2014We do it.", "A title", "We do it."),
        ("Abstract\u2013concrete pairs help.", "", "Abstract\u2013concrete pairs help."),
        ("Abstract - We do it.", "", "We do it."),
        ("**Abstract:** We do it.", "", "We do it."),
        ("*Abstract* We do it.", "", "We do it."),
        ("Abstract\nWe do it.", "", "We do it."),
        ("Abstract\n\nWe do it.", "", "We do it."),
        ("# Abstract\n\nWe do it.", "", "We do it."),
        ("A title\n\nAbstract: We do it.", "A title", "We do it."),
        ("A title\nAn Author\n\nAbstract\nWe do it.", "", "We do it."),
        ("# A title\n\nWho\n\n## Abstract\n\nWe do it.\n\n## 1 In\n\nNo.", "A title", "We do it."),
        ("Abstract syntax trees help.", "", "Abstract syntax trees help."),
        ("Abstract-level plans help.", "", "Abstract-level plans help."),
        ("---\ntitle: A title\ntags: [a]\n---\n\nWe do it.", "A title", "We do it."),
        ("---\ntitle: A: title\n---\n# Other\n\nAbstract: We do it.", "A: title", "We do it."),
        ("---\r\ndate: 2024\r\n---\r\n# A title\r\nWe do it.", "A title", "We do it."),
        ("---\nTitle: 'A'\nAbstract: |\n  We do\n  it.\n---\n# 1 In\n", "A", "We do\nit."),
        ("---\nabstract: |\n  We do it\n\n  It works.\n---\n# 1 In\n", "", "We do it\n\nIt works."),
        ("---\nabstract: 'Abstract: We do it.'\n---\n# 1 In\n", "", "We do it."),
        ("---\nWe do it.\n---\nIt works.", "", "---\nWe do it.\n---\nIt works."),
        ("---\nWe do: it.\n---\nIt works.", "", "---\nWe do: it.\n---\nIt works."),
        ("A\n\n\\begin{abstract}\nWe do it.\n\\end{abstract}\n\nNo.", "", "We do it."),
        ("\\begin{abstract}We do it.", "", "We do it."),
        (
            "\\begin{abstract}\n5\\% % of it\n  more.% so\n% all\n\nEnd.\\end{abstract}",
            "",
            "5\\% more.\n\nEnd.",
        ),
        ("", "", ""),
    ],
)  # fmt: skip
def test_title_and_abstract(text: str, title: str, abstract: str) -> None:
    assert title_and_abstract(text) == (title, abstract)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"## Waiting\n{ABSTRACT}\n## Ledger\n{ABSTRACT}", "Save the text as a .md file; each"),
        (f"Waiting\n\n{ABSTRACT}\n\nLedger\n\n{ABSTRACT}", "as in ## Ledger."),
    ],
)
def test_several_abstracts_are_refused(folder: Path, text: str, hint: str) -> None:
    (folder / "papers.txt").write_text(text)
    for error in (refused("papers.txt"), refused(text, source="stdin")):
        assert "is a list of several papers" in error.message
        assert hint in (error.hint or "")


def test_items_that_are_not_an_abstract_are_refused(folder: Path) -> None:
    (folder / "titles.md").write_text("# Read\n\n- Planners that wait\n- Ledgers of agents\n")
    error = refused("titles.md")
    assert "consists of list items or table rows" in error.message
    assert "## before each title" in (error.hint or "")


def test_parts_of_one_abstract_are_read_together(folder: Path) -> None:
    (folder / "one.txt").write_text(f"Ledger\n\nMethods\n\n{ABSTRACT}\n\nResults\n\n{ABSTRACT}")
    assert read("one.txt").abstract.count(ABSTRACT) == 2
