"""What is read of a paper, whatever its layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pdf_papers import (
    ABSTRACT,
    CONCLUSION,
    INTRODUCTION,
    LIMITATION,
    REFERENCES,
    TITLE,
    PdfPaper,
    joined,
)

from skills.corpus.pdf import extraction, page_text, title_page
from skills.corpus.pdf.extraction import extract, find_sections
from skills.corpus.pdf.page_lines import in_reading_order
from skills.corpus.pdf.page_text import Line
from skills.corpus.tables.reader_process import Unreadable

BOTH = ("limitation", "conclusion")


def read(folder: Path, kinds: tuple[str, ...] = (), **settings: Any) -> dict[str, Any]:
    return extract(PdfPaper(**settings).write(folder / "paper.pdf"), kinds)


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("by_row", [False, True], ids=["by column", "by row"])
def test_columns_are_read_one_after_the_other(tmp_path: Path, columns: int, by_row: bool) -> None:
    found = read(tmp_path, BOTH, columns=columns, by_row=by_row)
    assert found["title"] == TITLE
    assert found["abstract"] == ABSTRACT
    assert found["authors"] == "Ada Lovelace, Jürgen Müller, Alan Turing"
    texts = {one["kind"]: one["text"] for one in found["sections"]}
    assert texts == {"limitation": LIMITATION, "conclusion": CONCLUSION}


@pytest.mark.parametrize(
    "label", ["Abstract", "ABSTRACT", "A B S T R A C T", "Abstract—", "Abstract.", "ABSTRACT:",
              "Summary"],
)  # fmt: skip
def test_headings_of_the_abstract(tmp_path: Path, label: str) -> None:
    assert read(tmp_path, label=label)["abstract"] == ABSTRACT


def test_an_abstract_without_a_heading_is_the_paragraph_above_the_introduction(
    tmp_path: Path,
) -> None:
    assert read(tmp_path, label="")["abstract"] == ABSTRACT


def test_a_paper_without_an_abstract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="has no abstract: there is no heading"):
        read(tmp_path, label="", abstract="In short.")


def test_an_abstract_that_goes_on_in_the_next_column_has_no_footnote(tmp_path: Path) -> None:
    """And no running head, although both are between its parts."""
    found = read(tmp_path, abstract=" ".join([ABSTRACT] * 6), columns=3)
    assert found["abstract"] == " ".join([ABSTRACT] * 6)


def test_a_section_over_two_pages_has_no_running_heads(tmp_path: Path) -> None:
    long = " ".join([LIMITATION] * 60)
    sections = (("1 Introduction", INTRODUCTION), ("6.2 Limitations", long), ("References", "[1]"))
    (found,) = read(tmp_path, BOTH, sections=sections)["sections"]
    assert found == {"kind": "limitation", "heading": "Limitations", "page": 1, "text": long}


@pytest.mark.parametrize(
    ("heading", "kinds"),
    [
        ("7 Limitations and Future Work", ["limitation"]),
        ("VI. CONCLUSIONS AND LIMITATIONS", ["limitation", "conclusion"]),
        ("Threats to Validity", ["limitation"]),
        ("5. Concluding Remarks", ["conclusion"]),
        ("3 Limitations of Existing Methods", []),
        ("4 Discussion", []),
    ],
)
def test_headings_of_sections(tmp_path: Path, heading: str, kinds: list[str]) -> None:
    sections = (("1 Introduction", INTRODUCTION), (heading, LIMITATION), ("References", REFERENCES))
    found = read(tmp_path, BOTH, sections=sections)["sections"]
    assert [one["kind"] for one in found] == kinds
    assert all(one["text"] == LIMITATION for one in found)


def test_sections_are_read_only_if_they_are_wanted(tmp_path: Path) -> None:
    assert read(tmp_path)["sections"] == []
    assert [one["kind"] for one in read(tmp_path, ("conclusion",))["sections"]] == ["conclusion"]


def test_the_stamp_of_arxiv(tmp_path: Path) -> None:
    found = read(tmp_path, margin="arXiv:2405.12345v2 [cs.CL] 20 May 2024")
    assert found["arxiv_id"] == "2405.12345"
    assert (found["published"], found["categories"]) == ("2024-05-20", "cs.CL")


def test_a_printed_doi(tmp_path: Path) -> None:
    assert read(tmp_path, footnote="https://doi.org/10.1234/ABC.5")["doi"] == "10.1234/abc.5"
    assert "doi" not in read(tmp_path, footnote="doi:10.1234/one, see doi:10.1234/other")


def test_a_title_of_the_document_information_counts_if_the_page_has_it(tmp_path: Path) -> None:
    upper = TITLE.upper()
    assert read(tmp_path, title=upper, information={"Title": TITLE})["title"] == TITLE
    assert (
        read(tmp_path, information={"Title": "Microsoft Word - paper-final.doc"})["title"] == TITLE
    )


def test_authors_that_are_not_certain_are_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, authors="University of Utopia, Laboratory of Shelves")["authors"] == ""


def test_marks_of_footnotes_are_no_text(tmp_path: Path) -> None:
    """And divide names; a raised number of a formula is kept."""
    found = read(
        tmp_path,
        authors="Ada Lovelace^1,2^ Jürgen Müller^2^ and Alan Turing^*^",
        abstract=f"{ABSTRACT} It needs R^2^ of Ca^2^ and 10^6^ papers.^12^",
    )
    assert found["abstract"] == f"{ABSTRACT} It needs R2 of Ca2 and 106 papers."
    assert found["authors"] == "Ada Lovelace, Jürgen Müller, Alan Turing"


def test_accents_beside_their_letters(tmp_path: Path) -> None:
    """As OT1 fonts of LaTeX have them."""
    found = read(tmp_path, abstract=f"{ABSTRACT} So say M\u00a8uller and Erd\u00b4esz.")
    assert found["abstract"].endswith("So say Müller and Erdész.")


def test_a_word_with_a_hyphen_keeps_it() -> None:
    """If the paper has it elsewhere."""
    lines = [
        Line("a well-known and long-", 0, 9, 9, 9),
        Line("term state-of-the-", 0, 9, 8, 9),
        Line("art method is long-term, as trans-", 0, 9, 7, 9),
        Line("formers are", 0, 9, 6, 9),
    ]
    text = "a well-known and long-term state-of-the-art method is long-term, as transformers are"
    assert page_text.text_of(lines, page_text.words_of(lines)) == text


def test_line_numbers_of_a_manuscript() -> None:
    heights = [700 - 12 * number for number in range(40)]
    text = [Line(f"This is a line of text at {y}", 80, 300, y, 9) for y in heights]
    numbers = [Line(f"{number:03}", 40, 55, y, 9) for number, y in enumerate(heights)]
    assert in_reading_order([*text, *numbers]) == text


def test_notes_beside_a_block_are_not_among_its_lines() -> None:
    """As "Article info" is beside the abstract."""
    block = [Line(f"abstract {number}", 200, 550, 600 - 12 * number, 9) for number in range(8)]
    beside = [Line(f"keyword {number}", 40, 120, 598 - 14 * number, 7) for number in range(5)]
    title = Line("A title over both", 40, 550, 700, 16)
    found = in_reading_order([title, *block, *beside])
    assert [line.text for line in found] == [line.text for line in (title, *beside, *block)]


def test_a_page_of_any_width_and_of_any_number_of_pieces_takes_little_time() -> None:
    """A damaged file may have both."""
    wide = [Line("a few words", 1e9 * number, 1e9 * number + 50, 9, 9) for number in range(9)]
    assert len(in_reading_order(wide)) == 9
    drawing = [Line("x", number % 97, number % 97 + 1, number / 9, 1) for number in range(60_000)]
    assert in_reading_order(drawing) == drawing


def test_the_title_of_a_page_before_the_abstract(tmp_path: Path) -> None:
    first = PdfPaper(abstract="", label="", sections=(), footnote="").data()
    second = PdfPaper(title=" ", authors=" ").data()
    assert extract(joined(tmp_path / "paper.pdf", first, second), ())["title"] == TITLE


def test_a_font_without_letters_is_refused(tmp_path: Path) -> None:
    """Its text comes as signs."""
    signs = "".join(chr(0xF020 + number) for number in range(90))
    with pytest.raises(Unreadable, match="fonts without Unicode mappings"):
        extraction._check_text([Line(f"of {signs} {'abcdefgh' * 5}", 0, 9, 9, 9)] * 9)


def lines(*texts: str) -> list[Line]:
    return [Line(text, 50, 400, 700 - 12 * number, 9, "Body") for number, text in enumerate(texts)]


LONG = "It has words enough to be the abstract of some paper that we invented."


@pytest.mark.parametrize(
    "last", ["Keywords: shelves", "Received 7 May 2024", "© 2024 Us", "1. Introduction", "KEYWORDS"]
)
def test_what_follows_an_abstract(last: str) -> None:
    given = lines("Abstract", LONG, LONG, last, "More text follows here.")
    found = title_page.find_abstract(given)
    assert found is not None
    assert found.lines == given[1:3]


def test_words_at_the_beginning_of_a_line_do_not_end_an_abstract() -> None:
    """Although they may be the first ones after it."""
    given = lines(
        "Abstract", LONG, LONG, "received attention for the introduction of",
        "keywords and of copyright, and its", "motivation.",
    )  # fmt: skip
    found = title_page.find_abstract(given)
    assert found is not None
    assert found.lines == given[1:]


def test_the_parts_of_a_structured_abstract() -> None:
    given = lines(
        "Abstract", "Methods", "We read ten papers of each shelf, and then ten more of each again.",
        "Results", "It was a success, more so than it had been in the year before this one.",
        "Keywords", "shelves",
    )  # fmt: skip
    for one in (given[1], given[3], given[5]):
        one.bold, one.font = True, "Bold"
    found = title_page.find_abstract(given)
    assert found is not None
    assert found.lines == given[1:5]


def test_a_heading_in_the_first_line_of_its_paragraph() -> None:
    given = lines(
        "Discussion.", "Much was found in this, as the reader may have noticed by now.",
        "Limitations. Our study has only five collections, and",
        "all of their papers are in English.",
        "Outlook. There will be more.",
    )  # fmt: skip
    given[2].lead, given[4].lead = "Limitations.", "Outlook."
    (found,) = find_sections(given, ["limitation"], given[1])
    assert found.heading == "Limitations"
    assert [line.text for line in found.lines] == [
        "Our study has only five collections, and",
        "all of their papers are in English.",
    ]


def test_a_heading_of_two_lines() -> None:
    given = lines(
        "5 Conclusion, Limitations", "and Outlook",
        "Our study has only five collections, and all of",
        "their papers are in English, as they were.", "6 Acknowledgments", "We thank all.",
    )  # fmt: skip
    for one in (given[0], given[1], given[4]):
        one.bold, one.font = True, "Bold"
    (found,) = find_sections(given, ["limitation"], given[2])
    assert found.lines == given[2:4]
