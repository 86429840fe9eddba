"""The place of a passage: the words below its boxes are its words."""

from __future__ import annotations

from pathlib import Path

import pytest
from pdf_papers import ABSTRACT, CONCLUSION, LIMITATION, PdfPaper

from skills.corpus.pdf import extraction
from skills.corpus.pdf.page_lines import Pages
from skills.corpus.pdf.passage_places import Letters, Passages, places_of
from skills.nanda.sentences import sentence_spans


def passages(*spans: tuple[int, int], abstract: str = ABSTRACT, **quotes: str) -> Passages:
    return {
        "abstract": abstract,
        "spans": {f"move {number}": [span] for number, span in enumerate(spans)},
        "quotes": quotes,
    }


def test_a_passage_has_a_box_for_each_line(tmp_path: Path) -> None:
    path = PdfPaper().write(tmp_path / "a.pdf")
    first, *_ = sentence_spans(ABSTRACT)
    [place] = places_of(path, passages(first))["move 0"]
    assert place["page"] == 0
    tops = [top for _, _, _, top in place["boxes"]]
    assert len(tops) > 2
    assert tops == sorted(tops, reverse=True)
    assert all(left < right and bottom < top for left, bottom, right, top in place["boxes"])


def test_a_repeated_passage_is_found_at_its_own_place(tmp_path: Path) -> None:
    sentence = "The model is small."
    abstract = f"{sentence} {ABSTRACT} {sentence}"
    path = PdfPaper(abstract=abstract).write(tmp_path / "a.pdf")
    last = len(abstract) - len(sentence)
    found = places_of(path, passages((0, len(sentence)), (last, len(abstract)), abstract=abstract))
    [one], [other] = found["move 0"], found["move 1"]
    assert one["boxes"][0][1] > other["boxes"][0][3]


def test_a_passage_of_another_text_is_not_found(tmp_path: Path) -> None:
    path = PdfPaper().write(tmp_path / "a.pdf")
    other = "Nothing in this sentence was printed on any page of the paper."
    assert places_of(path, passages((0, len(other)), abstract=other, claim=other)) == {}


def test_a_passage_with_a_changed_word_is_found_nevertheless(tmp_path: Path) -> None:
    path = PdfPaper().write(tmp_path / "a.pdf")
    changed = ABSTRACT.replace("scientific papers", "scientific papees")
    first, *_ = sentence_spans(changed)
    assert list(places_of(path, passages(first, abstract=changed))) == ["move 0"]


def test_quotes_are_found_in_sections(tmp_path: Path) -> None:
    path = PdfPaper().write(tmp_path / "a.pdf")
    last = LIMITATION[LIMITATION.index("We did") :]
    found = places_of(path, passages(limitation=last, implication=CONCLUSION))
    assert set(found) == {"limitation", "implication"}


@pytest.mark.parametrize(
    "passage", ["(n = 12)", "with papers, which are short.", "file, ", "papers"]
)
def test_points_and_parentheses_belong_to_their_words(tmp_path: Path, passage: str) -> None:
    abstract = f"We work (n = 12) with papers, which are short. We file, then read. {ABSTRACT}"
    path = PdfPaper(abstract=abstract).write(tmp_path / "a.pdf")
    with Pages(path) as pages:
        _, found = extraction.first_pages(pages)
        letters = Letters(found.lines)
        chars = letters.find(passage)
        printed = "".join(line.text.replace(" ", "") for line in found.lines)
    assert chars is not None
    assert printed[chars.start : chars.stop] == "".join(passage.split())
