"""The survey of a topic, as Markdown and rendered."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Any

import pytest
from lxml import html
from markdown_it import MarkdownIt
from repository import SHARED

from skills.annotate.survey_page import (
    Survey,
    as_markdown,
    authors_and_year,
    grouped,
    write_html,
)
from skills.corpus.records import Annotated, Failure
from skills.nanda.checks import check
from skills.nanda.framework import Framework, Move, nanda
from skills.nanda.paper import Paper

GOLD = SHARED / "gold_dev.csv"
NOT_STATED = "Not stated."
PROVENANCE = {
    "requested": "nanda-annotator",
    "resolved": "nanda-annotator",
    "reason": None,
    "created": "2026-11-24T10:00:00+00:00",
}


def paper(number: int, **known: Any) -> Paper:
    fields = {
        "title": f"Sieve {number}",
        "abstract": f"Sieve {number} filters answers and wins on 12 tasks.",
        "authors": "Ada Invented, Ben Made-Up, Carla Fictional",
        "published": f"2024-01-{number:02}",
        "source": {"kind": "arxiv", "arxiv_id": f"2401.{number:05}v1"},
        **known,
    }
    return Paper("arxiv_id", f"2401.{number:05}", **fields)


def annotated(
    paper: Paper,
    moves: Mapping[str, str] | None = None,
    framework: Framework | None = None,
    **provenance: Any,
) -> Annotated:
    framework = framework or nanda()
    texts = dict.fromkeys(framework.names, NOT_STATED) | dict(moves or {})
    record = {
        paper.id_field: paper.id,
        "title": paper.title,
        **texts,
        "checks": check(paper.abstract, framework.stated(texts)),
        "provenance": {**PROVENANCE, **provenance},
    }
    return Annotated(paper, record)


def survey(
    *items: Annotated, topic: str = "Survey of sieves", failures: tuple[Failure, ...] = ()
) -> str:
    return as_markdown(Survey(topic, items, nanda(), failures))


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next one of its level or above."""
    level = heading.split()[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", page, re.M | re.S
    )
    assert found, f"no {heading!r} in {page}"
    return found[1].strip()


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ .*$", page, re.M)


TWO = (
    annotated(
        paper(2, title="Second", authors="Dora Bogus"),
        {"claim": "Sieve 2 filters answers.", "evidence": "It wins on 12 tasks."},
    ),
    annotated(
        paper(1, title="First", source={"kind": "corpus"}, published="2023-05-06"),
        {"claim": "Sieve 1 filters answers.", "limitation": "Sieve filters answers on tasks."},
    ),
)


def test_the_sections_of_a_survey() -> None:
    assert headings(survey(*TWO)) == [
        "# Survey of sieves",
        "## The papers by claim",
        "## The eight moves across the papers",
        "### Evidence",
        "### Method",
        "### Scope",
        "### Comparison",
        "### Implication",
        "### Novelty",
        "## Gaps",
        "### Limitations that the papers state",
        "### What the abstracts do not state",
        "### Doubts of the checks",
        "## References",
    ]


@pytest.mark.parametrize(
    ("topic", "heading"),
    [
        ("survey of  sieves", "# Survey of sieves"),
        ("a review of sieves", "# A review of sieves"),
        ("sieves", "# Survey: sieves"),
        ("[x](http://y) *z*", "# Survey: \\[x\\](http://y) \\*z\\*"),
    ],
)
def test_the_topic_is_the_heading(topic: str, heading: str) -> None:
    assert survey(*TWO, topic=topic).startswith(f"{heading}\n")


def test_the_facts_come_first() -> None:
    facts = section(survey(*TWO), "# Survey of sieves").split("\n\n")[0]
    assert facts == (
        "2 papers, published 2023 to 2024: 1 from arXiv and 1 from the corpus. Their abstracts, "
        "not the papers themselves, were annotated by nanda-annotator on 2026-11-24, in the moves "
        "of the Nanda 8-move framework, version 1."
    )


def test_the_facts_with_one_source_and_undated_papers() -> None:
    facts = survey(annotated(paper(1)), annotated(paper(2, published="")))
    assert "2 papers from arXiv, published 2024 (1 without a date)." in facts
    assert "1 paper from arXiv." in survey(annotated(paper(1, published="")))
    assert "1 paper from files." in survey(annotated(paper(1, published="", source={})))


def test_a_fallback_is_reported() -> None:
    fell = {"resolved": "producer", "reason": "the file | is missing"}
    assert (
        "nanda-annotator was requested and could not be served (the file \\| is missing); "
        "producer was used instead."
    ) in survey(annotated(paper(1), **fell))
    mixed = survey(annotated(paper(1), **fell), annotated(paper(2), created="2026-11-26T01:00:00"))
    assert "annotated by producer and nanda-annotator from 2026-11-24 to 2026-11-26" in mixed
    assert "nanda-annotator was requested for 1 paper and could not be served" in mixed


def test_few_papers_are_numbered_by_date() -> None:
    assert section(survey(*TWO), "## The papers by claim").splitlines() == [
        "The oldest paper first.",
        "",
        "- [1] **First** (Invented et al., 2023). Sieve 1 filters answers.",
        "- [2] **Second** (Bogus, 2024). Sieve 2 filters answers.",
    ]
    assert survey(*TWO) == survey(*reversed(TWO))


def test_the_matrix() -> None:
    lines = section(survey(*TWO), "## The eight moves across the papers").splitlines()
    assert lines[0] == "✓ stated, - not stated."
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:7]]
    assert rows[0] == ["Paper", *(move.label for move in nanda().moves)]
    assert rows[2] == ["[1] Invented et al., 2023", "✓", "-", "-", "-", "✓", "-", "-", "-"]
    assert rows[3] == ["[2] Bogus, 2024", "✓", "✓", "-", "-", "-", "-", "-", "-"]
    assert rows[4] == ["**Stated, of 2**", "2", "1", "0", "0", "1", "0", "0", "0"]


def test_each_move_has_what_the_papers_state() -> None:
    page = survey(*TWO)
    assert section(page, "### Evidence") == "- [2] It wins on 12 tasks."
    assert section(page, "### Method") == "No paper states it."


def test_gaps() -> None:
    gaps = section(survey(*TWO), "## Gaps")
    assert section(gaps, "### Limitations that the papers state") == (
        "- [1] Sieve filters answers on tasks."
    )
    rows = section(gaps, "### What the abstracts do not state").splitlines()[2:]
    assert rows[0] == "| Method | 2 of 2 | [1], [2] |"
    assert rows[-1] == "| Limitation | 1 of 2 | [2] |"
    assert not any(row.startswith("| Claim") for row in rows)
    assert section(gaps, "### Doubts of the checks").startswith("Nothing is doubted.")


def test_no_gaps() -> None:
    moves = dict.fromkeys(nanda().names, "Sieve 1 filters answers.")
    assert "Every abstract states every move." in survey(annotated(paper(1), moves))


def test_long_lists_of_citations_are_shortened() -> None:
    page = survey(*(annotated(paper(number)) for number in range(1, 29)))
    assert "| 28 of 28 | [1], " in page
    assert "[20] and 8 more |" in page


def test_unsupported_moves_are_marked() -> None:
    page = survey(
        annotated(
            paper(1),
            {
                "claim": "Penguins waddle southwards.",
                "evidence": "It wins on 99 tasks of FooBench.",
                "method": "Sieve 1 filters answers.",
            },
        )
    )
    assert "(Invented et al., 2024). Penguins waddle southwards. ⚠" in page
    assert "| [1] Invented et al., 2024 | ⚠ | ⚠ | ✓ |" in page
    assert "⚠ stated, but doubtful (see below)" in page
    assert "Of 3 stated moves, 2 are doubtful, and marked ⚠." in page
    assert section(page, "### Evidence") == "- [1] It wins on 99 tasks of FooBench. ⚠"
    assert section(page, "### Doubts of the checks").splitlines() == [
        "- [1] Claim: few of its words are in the abstract.",
        "- [1] Evidence: numbers that are not in the abstract: 99; names that are not in the "
        "abstract: FooBench; few of its words are in the abstract.",
    ]


def test_failed_papers_are_listed_with_reasons() -> None:
    failure = Failure(paper(9), "InvalidReply", "it was cut off. `--model NAME`", False, "raw |")
    page = survey(*TWO, failures=(failure,))
    assert "1 paper could not be annotated." in page
    assert section(page, "## Without an annotation: 1 paper") == (
        "- Ada Invented, Ben Made-Up, Carla Fictional. *Sieve 9*. 2024. "
        "<https://arxiv.org/abs/2401.00009>. Reason: it was cut off. \\`--model NAME\\`"
    )
    assert "raw" not in page


def test_a_survey_of_failures_only() -> None:
    page = survey(failures=(Failure(paper(9), "InvalidReply", "it was cut off", False),))
    assert "No paper could be annotated." in page
    assert headings(page) == ["# Survey of sieves", "## Without an annotation: 1 paper"]


def test_papers_are_numbered_by_dates_in_any_format() -> None:
    dates = ("2024/11/02", "2024-12-01", "20241015", "n.d.", "2024-01-05")
    items = [annotated(paper(n, published=date)) for n, date in enumerate(dates, start=1)]
    titles = re.findall(r"\*Sieve (\d)\*", section(survey(*items), "## References"))
    assert titles == ["5", "3", "1", "2", "4"]


def test_references_link_to_arxiv_where_there_is_a_page() -> None:
    own = Paper("id", "ab|12", "Mine", "Sieve filters answers.", published="2025")
    odd = Paper("arxiv_id", "2401.00009) [x](http://evil", "Odd", "Sieve filters answers.")
    page = survey(*TWO, annotated(own), annotated(odd))
    lines = section(page, "## References").splitlines()
    assert lines == [
        "- [1] Ada Invented, Ben Made-Up, Carla Fictional. *First*. 2023. "
        "<https://arxiv.org/abs/2401.00001>",
        "- [2] Dora Bogus. *Second*. 2024. <https://arxiv.org/abs/2401.00002>",
        "- [3] *Mine*. 2025. ab\\|12",
        "- [4] *Odd*. n.d. 2401.00009) \\[x\\](http://evil",
        "",
        "[1]: https://arxiv.org/abs/2401.00001",
        "[2]: https://arxiv.org/abs/2401.00002",
    ]


@pytest.mark.parametrize(
    ("authors", "short"),
    [
        ("Ada Invented", "Invented, 2024"),
        ("Ada Invented, Ben Made-Up", "Invented and Made-Up, 2024"),
        ("Ada Invented and Ben Made-Up", "Invented and Made-Up, 2024"),
        ("Invented, Ada; Made-Up, Ben; Fictional, C.", "Invented et al., 2024"),
        ("", "2024"),
    ],
)
def test_authors_and_year(authors: str, short: str) -> None:
    assert authors_and_year(paper(1, authors=authors)) == short


def test_long_lists_of_authors_are_shortened() -> None:
    authors = ", ".join(f"A. Name{number}" for number in range(1, 12))
    references = section(survey(annotated(paper(1, authors=authors))), "## References")
    assert "A. Name8 et al. *Sieve 1*. 2024." in references
    assert "Name9" not in references


HOSTILE = (
    "A | B [evil](http://evil.example) <img src=x onerror=alert(1)> ![i](http://i) `code` "
    "**bold** \\| # x [1] [1]: http://evil.example &lt; ~~gone~~ \u202etxt"
)


def rendered(page: str) -> str:
    return MarkdownIt("commonmark").enable("table").enable("strikethrough").render(page)


def test_text_is_escaped_for_markdown() -> None:
    calm = survey(annotated(paper(1), dict.fromkeys(nanda().names, "Calm.")))
    hostile = paper(1, title=HOSTILE, authors=f"{HOSTILE}; B; C", abstract=HOSTILE)
    page = survey(annotated(hostile, dict.fromkeys(nanda().names, HOSTILE)), topic=HOSTILE)
    html = rendered(page)
    for forbidden in ('evil.example"', "<img", "<code>", "<s>", 'http://i"', "\u202e"):
        assert forbidden not in html
    assert headings(page)[1:] == headings(calm)[1:]
    assert html.count("<td") == rendered(calm).count("<td")
    links = set(re.findall(r'href="([^"]*)"', html))
    assert links == {"https://arxiv.org/abs/2401.00001"}


def test_every_citation_is_rendered_as_a_link() -> None:
    html = rendered(survey(*TWO))
    assert html.count('<a href="https://arxiv.org/abs/2401.00002">2</a>') == 10
    assert "[2]:" not in html


def test_the_page_of_another_framework() -> None:
    moves = [("aim", "Aim"), ("risk", "Risk")]
    other = Framework(
        name="short",
        version="2",
        title="Short framework",
        not_stated="None.",
        moves=tuple(Move(name=n, label=x, definition=x, write=x) for n, x in moves),
        instructions="x",
        tuned_instructions="x",
    )
    items = [annotated(paper(1), {"aim": "None.", "risk": "Sieve 1 filters."}, other)]
    page = as_markdown(Survey("sieves", items, other))
    assert headings(page) == [
        "# Survey: sieves",
        "## The papers by aim",
        "## The two moves across the papers",
        "### Risk",
        "## Gaps",
        "### What the abstracts do not state",
        "### Doubts of the checks",
        "## References",
    ]
    assert "(Invented et al., 2024). None." in page
    assert "in the moves of the Short framework, version 2" in page


def texts(subject: str) -> tuple[str, str]:
    about = f"We study {subject}. Our {subject} is new. It has {subject}."
    return f"A {subject} that works. It is {subject}.", about


def names(topic: str, *subjects: str) -> list[tuple[str, tuple[int, ...]]]:
    groups = grouped(topic, [texts(subject) for subject in subjects])
    return [(group.name, group.members) for group in groups]


def test_papers_are_grouped_by_what_they_claim() -> None:
    subjects = [*["reranking", "weather", "graph walks"] * 2, "reranking", "weather"]
    assert names("sieves", *subjects) == [
        ("reranking", (0, 3, 6)),
        ("weather", (1, 4, 7)),
        ("graph walks", (2, 5)),
    ]
    assert names("sieves", "tides", "weather", "graph walks", "graph walks", "ink", "salt") == [
        ("graph walks", (2, 3)),
        ("", (0, 1, 4, 5)),
    ]


@pytest.mark.parametrize(
    ("topic", "subjects"),
    [
        ("sieves", ["reranking", "reranking", "graph walks"]),  # too few papers
        ("sieves", ["methods", "methods", "results", "results", "models", "models"]),
        ("reranking of walks", ["reranking", "reranking", "walks", "walks", "walk", "rerank"]),
    ],
)  # fmt: skip
def test_uninformative_groups_are_dropped(topic: str, subjects: list[str]) -> None:
    assert names(topic, *subjects) == []


def test_part_of_a_hyphenated_word_is_not_a_term() -> None:
    groups = names("sieves", *["graph walks"] * 4, *["multi-hop"] * 4)
    assert groups == [("graph walks", (0, 1, 2, 3)), ("multi-hop", (4, 5, 6, 7))]


def test_a_generic_word_does_not_start_a_term() -> None:
    groups = names("sieves", *["graph walks"] * 4, *["large reranking"] * 4)
    assert [name for name, _ in groups] == ["graph walks", "reranking"]


def test_groups_are_headings_with_consecutive_numbers() -> None:
    def item(number: int, subject: str) -> Annotated:
        title, _, claim = texts(subject)[0].partition(". ")
        found = paper(number, title=title, abstract=texts(subject)[1])
        return annotated(found, {"claim": claim})

    subjects = ["weather", "LoRA", "reranking", "LoRA", "reranking", "reranking"]
    page = survey(*(item(number, subject) for number, subject in enumerate(subjects, start=1)))
    claims = section(page, "## The papers by claim")
    assert headings(claims) == ["### Reranking", "### LoRA", "### Other papers"]
    numbers = re.findall(r"^- \[(\d)\] .*$", claims, re.M)
    assert numbers == ["1", "2", "3", "4", "5", "6"]
    assert "[6]: https://arxiv.org/abs/2401.00001" in page  # the paper on weather is last


def test_tex_becomes_plain_text() -> None:
    one = paper(1, title=r"A $\beta$-sieve of order $10^{-3}$", authors=r"Kurt G\"odel")
    page = survey(annotated(one, {"claim": r"\textbf{Sieves} cost $5 to $10."}))
    assert "A β-sieve of order 10^-3" in page
    assert "Kurt Gödel" in page
    assert "Sieves cost $5 to $10." in page


def test_papers_that_are_left_out_are_listed() -> None:
    page = as_markdown(Survey("sieves", TWO, nanda(), left_out=[paper(7, title="Passing")]))
    left_out = section(page, "## Left out: 1 paper")
    assert "relevance below 0.6" in left_out
    assert "*Passing*. 2024." in left_out
    assert "Left out" not in survey(*TWO)


def test_the_html_page_is_the_survey() -> None:
    hostile = annotated(paper(1, title="<script>alert(1)</script> [x](javascript:alert(1))"))
    file = io.BytesIO()
    write_html(file, Survey("Survey of <sieves>", [*TWO, hostile], nanda()))
    page = html.document_fromstring(file.getvalue().decode())
    assert page.findtext(".//h1") == "Survey of <sieves>"
    sections = [section.findtext("h2") for section in page.iterfind(".//section")]
    assert sections == [
        "The papers by claim",
        "The eight moves across the papers",
        "Gaps",
        "References",
    ]
    links = [link.attrib["href"] for link in page.iterfind(".//a")]
    assert links[:4] == ["#part-1", "#part-2", "#part-3", "#part-4"]
    assert "https://arxiv.org/abs/2401.00002" in links
    assert not any(link.startswith("javascript:") for link in links)
    assert page.findall(".//script") == []
    assert page.xpath("//*[@style]") == [], "the page's policy refuses inline styles"


@pytest.mark.skipif(not GOLD.is_file(), reason="the shared gold data is not here")
def test_a_survey_of_real_abstracts() -> None:
    framework = nanda()
    with GOLD.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    items = [
        annotated(
            Paper(
                "arxiv_id",
                row["arxiv_id"],
                row["title"],
                row["abstract"],
                {"kind": "table"},
                authors=row["authors"],
                published=row["published"],
            ),
            {name: row[name] for name in framework.names},
        )
        for row in rows
    ]
    page = survey(*items)
    html = rendered(page)
    assert set(re.findall(r"^\[(\d+)\]:", page, re.M)) == set(map(str, range(1, len(rows) + 1)))
    assert html.count("<td") >= len(rows) * 9
    stated = sum(row["limitation"] != NOT_STATED for row in rows)
    assert section(page, "### Limitations that the papers state").count("\n- ") == stated - 1
    assert f"| Limitation | {len(rows) - stated} of {len(rows)} |" in page
