"""Test Markdown lists of papers, and how they differ from one abstract."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from skills.annotate.abstract_text import title_and_abstract
from skills.corpus.table import Columns, TableRow, open_table
from skills.corpus.tables.markdown_lists import HEAD, consists_of_items, is_list
from skills.nanda.paper import Paper

LIST = """\
# My arXiv list

**Date:** 2023; see https://arxiv.org/list/cs.MA.

## Agents

### 1. [Ledger: *books* for [AI] agents](http://arxiv.org/abs/2405.12345v2)

**Authors:** A. One, [B. Two](https://example.org)
**Published:** 2024-05-17 ([v2](https://arxiv.org/abs/2405.99999))
**Categories**: cs.AI, cs.CL
**PDF:** [pdf](https://arxiv.org/pdf/2405.99999)

**Abstract:** We present Ledger,
which books **every** call where a <b and c> d.
Date: no label here.

A second paragraph, see https://arxiv.org/abs/1111.11111.

**Methods:** Of a structured abstract.

**Comments:** 12 pages

---

## **Quarry**

- **arXiv:** cs/0112017v3
- **Date:** 2001
- **Abstract**: We present Quarry.
---
Read it again.

## Kiln ##

Authors: C
arXiv: 2401.00001
Abstract: We present Kiln. Results
date: to no earlier year.
Keywords: clay

## Lathe
#### Abstract
> We present Lathe,
> quoted.
#### Authors
D. Four, E
https://arxiv.org/abs/2402.00002v1
"""


@pytest.fixture
def papers(tmp_path: Path) -> list[Paper]:
    return [row.paper for row in rows(tmp_path, LIST)]


def rows(folder: Path, text: str) -> list[TableRow]:
    path = folder / "list.md"
    path.write_text(text)
    return list(open_table(path).rows())


def test_each_section_with_an_abstract_is_a_paper(papers: list[Paper]) -> None:
    assert [(paper.id_field, paper.id) for paper in papers] == [
        ("arxiv_id", "2405.12345"),
        ("arxiv_id", "cs/0112017"),
        ("arxiv_id", "2401.00001"),
        ("arxiv_id", "2402.00002"),
    ]
    assert [paper.title for paper in papers] == [
        "Ledger: books for [AI] agents", "Quarry", "Kiln", "Lathe",
    ]  # fmt: skip


def test_end_of_abstract(papers: list[Paper]) -> None:
    assert [paper.abstract for paper in papers] == [
        "We present Ledger,\nwhich books **every** call where a <b and c> d.\n"
        "Date: no label here.\n\n"
        "A second paragraph, see https://arxiv.org/abs/1111.11111.\n\n"
        "**Methods:** Of a structured abstract.",
        "We present Quarry.",
        "We present Kiln. Results",
        "We present Lathe,\nquoted.",
    ]


def test_other_labels(papers: list[Paper]) -> None:
    assert [(paper.authors, paper.published, paper.categories) for paper in papers] == [
        ("A. One, B. Two", "2024-05-17", "cs.AI, cs.CL"),
        ("", "2001", ""),
        ("C", "to no earlier year.", ""),
        ("D. Four, E", "", ""),
    ]


def test_row_position_is_the_line_of_its_heading(tmp_path: Path) -> None:
    found = rows(tmp_path, LIST)
    lines = [int(row.where.rpartition(", line ")[2]) for row in found]
    headings = [LIST.splitlines()[line - 1] for line in lines]
    assert [heading.strip("# ")[:9] for heading in headings] == [
        "1. [Ledge", "**Quarry*", "Kiln", "Lathe",
    ]  # fmt: skip
    table = open_table(tmp_path / "list.md")
    assert table.id_column == "arxiv_id"
    assert sum(bool(row.paper.abstract) for row in table.rows()) == 4


def test_generated_lists(tmp_path: Path) -> None:
    text = """\
# Latest papers
**update at 2025-05-24 16:11:32**

## **1. Ledger: Books for Agents**

**SubmitDate**: 2025-05-22    [abs](http://arxiv.org/abs/2505.16957v1) [pdf](http://x.org/a.pdf)

**Abstract**: We present Ledger.

### Paper 25: Quarry

- **Source:** arXiv
- **Publication Year:** 2020
- **Abstract:** We present Quarry.
- **Why it matters:** It digs.

<details>
<summary><strong>Kiln</strong> - A. One - [[pdf]](https://arxiv.org/pdf/2510.00031)</summary>

**Abstract:** We present Kiln.

**arXiv ID:** 2510.00031
</details>

## Paper 3
**Title**: Lathe
<details open><summary>Abstract</summary>We present Lathe.</details>
"""
    found = [row.paper for row in rows(tmp_path, text)]
    assert [(paper.id if paper.id_field == "arxiv_id" else "") for paper in found] == [
        "2505.16957", "", "2510.00031", "",
    ]  # fmt: skip
    assert [paper.title for paper in found] == [
        "Ledger: Books for Agents",
        "Quarry",
        "Kiln",
        "Lathe",
    ]
    assert [paper.published for paper in found] == ["2025-05-22", "2020", "", ""]
    assert [paper.abstract for paper in found] == [
        f"We present {name}." for name in ("Ledger", "Quarry", "Kiln", "Lathe")
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "label",
    ["**Abstract:**", "**Abstract**:", "**Abstract**", "__Abstract:__", "*Abstract:*",
     "_Abstract_:", "**ABSTRACT.**", "***Abstract:***", "Abstract:", "abstract :", "* Abstract:",
     "**Abstract**\n\n", "Abstract\n", "**Abstract** \u2014", "> **Abstract:**", "### Abstract\n"],
)  # fmt: skip
def test_spellings_of_abstract_label(tmp_path: Path, label: str, end: str) -> None:
    entry = f"## T\n{label} We present Ledger.\n\n"
    (one, _) = rows(tmp_path, (entry + entry.replace("Ledger", "Quarry")).replace("\n", end))
    assert (one.paper.title, one.paper.abstract) == ("T", "We present Ledger.")


@pytest.mark.parametrize("date", ["2024-05-17", "2024/05/17", "20240517", "2024/05/17, v2"])
def test_date_keeps_its_day(tmp_path: Path, date: str) -> None:
    (one, _) = rows(
        tmp_path, f"## T\n**Published:** {date}\n\nAbstract: One.\n## U\nAbstract: Two."
    )
    assert one.paper.published == "2024-05-17"


def test_line_of_joined_urls_is_read_in_linear_time(tmp_path: Path) -> None:
    glued = "https://x.org/a" * 60  # backtracking over all ways to split this would not end
    found = rows(tmp_path, f"# L\n## T\n**Abstract:** One.\n{glued} and text\n## U\nAbstract: Two.")
    assert found[0].paper.abstract == f"One.\n{glued} and text"


def test_paper_without_abstract(tmp_path: Path) -> None:
    bare = "## [Bare](https://arxiv.org/abs/2403.00003)\n"
    other = "## Other\n**Authors:** F\n## Notes\nx\n"
    found = rows(tmp_path, f"{LIST}\n{bare}{other}")[4:]
    assert [(row.paper.title, row.paper.abstract) for row in found] == [("Bare", ""), ("Other", "")]


def test_two_abstracts_under_one_heading_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        rows(tmp_path, "# L\n## T\n**Abstract:** One.\n---\n**Abstract:** Two.\n")
    assert str(caught.value.where).endswith("list.md, line 2")
    assert caught.value.message == "two abstracts under this heading"


def test_markdown_that_is_not_a_list_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        rows(tmp_path, "# Notes\n\nNo papers here.\n")
    assert caught.value.message == "is not a list of papers"
    (tmp_path / "list.md").write_text(LIST)
    with pytest.raises(InputError, match="has no column 'text'"):
        open_table(tmp_path / "list.md", Columns(abstract="text"))


@pytest.mark.parametrize(
    "text",
    [
        "We present Ledger.",
        "# Ledger\n\nWe present Ledger.",
        "# Ledger\n\n**Abstract:** We present Ledger.",
        "# Ledger\n**Authors:** A\n\n## Abstract\n\nWe present Ledger.\n\n## More\n\nAgents.",
        "## Ledger\n\n**Abstract:** We present Ledger.",
        "Abstract: We present Ledger.",
        "# Ledger\n## Abstract\nWe present Ledger.\n## Authors\nA",
    ],
)
def test_one_abstract_is_not_a_list(text: str, tmp_path: Path) -> None:
    assert not is_list(text)
    (tmp_path / "one.md").write_text(text)
    assert not is_list(tmp_path / "one.md")
    assert "We present Ledger." in title_and_abstract(text)[1]


@pytest.mark.parametrize(
    "text",
    [
        LIST,
        "# A\n**Abstract:** One.\n# B\n**Abstract:** Two.",
        "## A\nAbstract: One.\n\n## B\nAbstract: Two.",
        "# Today\n\n## A\n**Authors:** C\n**Abstract:** One.",
        "## [A](https://arxiv.org/abs/2405.12345)\n\nAbstract: One.",
    ],
)
def test_lists_are_recognized(text: str, tmp_path: Path) -> None:
    assert is_list(text)
    (tmp_path / "list.md").write_text(text)
    assert is_list(tmp_path / "list.md")


def test_a_list_is_recognized_by_its_head(tmp_path: Path) -> None:
    filler = "a" * HEAD + "\n\n"
    for text, expected in ((LIST + filler, True), (filler + LIST, False)):
        assert is_list(text) is expected
        (tmp_path / "long.md").write_text(text)
        assert is_list(tmp_path / "long.md") is expected


def test_unreadable_file_is_not_a_list(tmp_path: Path) -> None:
    (tmp_path / "latin.md").write_bytes(LIST.encode() + b"\xe9")
    for name in ("latin.md", "none.md", "."):
        assert not is_list(tmp_path / name)
    assert not is_list(Path("~nobody-of-this-name/list.md"))


ONE = "Planners rarely wait for tools. Ours does, and it costs 12% less in 300 runs of ours."
OTHER = "Planners forget their steps. We let 40 of them keep a ledger, and 71% of them succeed."


@pytest.mark.parametrize(
    "text",
    [
        f"# Read\n\nIn spring.\n\n- **Waiting.** {ONE}\n- **[Ledger](x)**: {OTHER}\n- **None**\n",
        f"## Topic\n1. Waiting\n   {ONE}\n2. Ledger\n   {OTHER}\n",
        f"* Waiting\n\n  {ONE}\n* [Ledger](http://x)\n  {OTHER}\n",
        f"- *Waiting* \u2014 {ONE}\n- Ledger:\n  - {OTHER}\n",
        f"# Read\n\n## Waiting\n\n{ONE}\n\n## Ledger\n\n{OTHER}\n",
        f"- **Waiting**\n  - Authors: A\n  - Abstract: {ONE}\n- Ledger\n  **Abstract:** {OTHER}\n",
        f"# Waiting\n{ONE}\n# Ledger\n{OTHER}\n",
        f"# Read\n\n**Waiting**\n\n{ONE}\n\n**Ledger**\n{OTHER}\n",
        f"1. Li, B. (2021). Waiting. {ONE}\n2. Aas, C., & Wu, D. (2020a) Ledger. {OTHER}\n",
        f"| Title | Abstract |\n|:--|---|\n| Waiting | {ONE} |\n| Ledger | {OTHER} |\n",
    ],
)
def test_a_list_without_labels(text: str, tmp_path: Path) -> None:
    (tmp_path / "list.md").write_text(text)
    assert is_list(tmp_path / "list.md")
    found = [row.paper for row in open_table(tmp_path / "list.md").rows()][:2]
    assert [paper.title for paper in found] == ["Waiting", "Ledger"]
    assert [paper.abstract for paper in found] == [ONE, OTHER]


def test_all_paragraphs_and_nested_items_belong_to_the_item(tmp_path: Path) -> None:
    text = f"- **Waiting.** {ONE}\n\n  It waits.\n  - It halts.\n- **2405.12345** {OTHER * 3}\n"
    (tmp_path / "list.md").write_text(text)
    first, second = (row.paper for row in open_table(tmp_path / "list.md").rows())
    assert first.abstract == f"{ONE}\n\nIt waits.\n\nIt halts."
    assert second.abstract.endswith(OTHER)


@pytest.mark.parametrize(
    "text",
    [
        f"# Ledger\n\n{ONE} {OTHER} We contribute:\n- **A.** {ONE}\n- **B.** {OTHER}\n",
        f"- **Background.** {ONE}\n- **Results.** {OTHER}\n",
        f"## Background\n{ONE}\n## Methods and results\n{OTHER}\n",
        f"**Background**\n\n{ONE}\n\n**Results**\n\n{OTHER}\n",
        f"- Background: {ONE}\n- Results: {OTHER}\n",
        f"## Ledger\n{ONE}\n",
    ],
)
def test_parts_of_an_abstract_are_not_a_list(text: str) -> None:
    assert not is_list(text)
    assert not consists_of_items(text)


@pytest.mark.parametrize(
    "text",
    [
        f"- {ONE}\n- {OTHER}\n",
        "# Read\n\n- Planners that wait\n- Ledgers of agents\n",
        f"| Paper | Text |\n|---|---|\n| Waiting | {ONE} |\n| Ledger | {OTHER} |\n",
    ],
)
def test_items_without_a_title_or_an_abstract(text: str) -> None:
    assert not is_list(text)
    assert consists_of_items(text)


@pytest.mark.parametrize("lead", ["**{}** (Lin, Mei, 2021).", "[ ] **{}** \u2013", "[x] **{}**:"])
def test_items_with_authors_or_a_checkbox_are_papers(tmp_path: Path, lead: str) -> None:
    titles, path = ("Waiting", "Ledgers"), tmp_path / "list.md"
    items = [f"- {lead.format(title)} {OTHER * 3}\n" for title in titles]
    path.write_text("".join(items), encoding="utf-8")
    papers = [row.paper for row in open_table(path).rows()]
    assert tuple(paper.title for paper in papers) == titles
    assert all(paper.abstract.startswith("Planners forget") for paper in papers)
