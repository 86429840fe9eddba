"""The corpus page as a file: its content, and that hostile text stays text."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from page_corpus import HOSTILE, annotated, corpus, failures, of_moves
from page_elements import Elements, assert_harmless, assert_self_contained

from skills.corpus import stats
from skills.corpus.html_page import SCRIPTS, write_html
from skills.corpus.records import Annotated, Failure
from skills.nanda.anchors import anchors_of
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper
from skills.nanda.text import flatten
from skills.reporting.intervals import FEWEST


def written(items: list[Annotated], failed: list[Failure] | None = None, **more: Any) -> Elements:
    file = io.BytesIO()
    given = {"title": "Papers", "framework": nanda(), **more}
    write_html(file, items=items, failures=failed or [], **given)
    return Elements(file.getvalue())


def marked(page: Elements) -> list[str]:
    return page.texts.get(".unsupported", [])


def test_a_paper_is_written_with_all_its_data() -> None:
    item = annotated(5)
    page = written([item])
    assert page.values("data-id") == ["2605.00005"]
    assert page.values("data-published") == ["2026-05-06"]
    [facets] = map(json.loads, page.values("data-facets"))
    assert facets["year"] == ["2026"]
    assert facets["category"] == ["unknown"]
    assert facets["move.limitation"] == ["stated"]
    assert " ".join(page.texts[".sentence"]) == item.paper.abstract
    assert page.texts[".text"] == [item.record[name] for name in nanda().names]
    assert page.facts["sampling, seed"] == "12345"
    assert page.facts["tokens, prompt"] == "405"


def test_the_sources_of_a_move_are_the_sentences_of_its_anchor() -> None:
    item = annotated(5)
    abstract = item.paper.abstract
    given = anchors_of(abstract, nanda().stated(item.record), {"claim": [4, 2]})
    item.record["anchors"]["claim"] = given["claim"]
    page = written([item])
    for name, anchor in given.items():
        assert page.sources[f"move.{name}"] == [abstract[s:e] for s, e in anchor["spans"]]
    assert "mark" not in page.tags, "all are whole sentences"
    assert page.values("data-label")[-1] == "Claim, Limitation", "of the last sentence"
    assert "2, 4" in page.texts[".anchor"]
    assert "from sentences 2 and 4 (given by the model)" in page.shown
    assert "(found by common words)" in page.shown


def test_an_annotation_of_an_earlier_version_has_lexical_sources() -> None:
    item = annotated(5, {"scope": "Zebras."})
    expected = written([item])
    del item.record["anchors"]
    page = written([item])
    assert page.sources == expected.sources
    assert page.sources["move.claim"][0].startswith("We present")
    assert "move.scope" not in page.sources
    assert "no sentence of the abstract shares its words" in page.shown


def test_passages_are_marked_and_where_they_overlap_each_piece_has_its_moves() -> None:
    item = annotated(5)
    claim, method = "Keeper5, a planner that", "a planner that moves Beehives"
    for name, passage in (("claim", claim), ("method", method)):
        start = item.paper.abstract.index(passage)
        span = [start, start + len(passage)]
        item.record["anchors"][name] = {"sentences": [2], "spans": [span], "by": "model"}
    page = written([item])
    assert page.texts["mark"] == ["Keeper5,", " a planner that", " moves Beehives"]
    # The novelty comes from the whole sentence, and is named at its end.
    labels = ["Novelty", "Claim", "Claim, Method", "Method"]
    assert page.values("data-label")[1:5] == labels
    assert page.sources["move.claim"] == ["Keeper5,", " a planner that"]
    assert page.sources["move.evidence"][0].startswith("On 15 harbours")
    assert " ".join(page.texts[".sentence"]) == item.paper.abstract


@pytest.mark.parametrize(
    ("text", "unsupported"),
    [
        ("It gains 98,765 points over GPT-9 on tests.", ["98,765", "GPT-9"]),
        ("98765, not 987650 or 9.98765", ["98765", "987650", "9.98765"]),
        ("GPT-9 and GPT-90 differ", ["GPT-9", "GPT-90"]),
        ("Up by .5 and 5", [".5", "5"]),
        ("32 harbours and 2", ["2"]),
        ("12,500 litres, 2 and 500", ["2", "500"]),
        ("It saves 12500 litres", []),
    ],
)
def test_unsupported_numbers_and_names_are_marked(text: str, unsupported: list[str]) -> None:
    page = written([annotated(22, {"evidence": text})])
    assert marked(page) == unsupported
    assert page.texts[".text"][1] == text  # blanks around the marks are kept


def test_findings_are_listed_and_are_a_facet() -> None:
    same = "A planner moves the boats at dawn."
    page = written([annotated(1, {"claim": same, "novelty": same, "scope": "Kindergartens."})])
    flags = page.texts[".flag"]
    assert "has the same content as Novelty" in flags
    assert "few of its words are in the abstract" in flags
    [facets] = map(json.loads, page.values("data-facets"))
    assert facets["findings"] == ["Few words in the abstract", "Moves that repeat each other"]


def test_shared_provenance_is_written_once() -> None:
    page = written(corpus())
    assert set(page.values("data-shared")) == {"0", "1"}
    assert page.shown.count("ab" * 32) == 2


def test_failures_are_grouped_and_keep_the_lines_of_the_reply() -> None:
    page = written([], failures())
    assert page.texts["pre"] == ["\nClaim: <b>\nx"]
    assert "The server went away." in page.shown
    assert "1 may succeed when retried." in page.shown
    assert [text for text in page.texts["h2"] if "Failed" in text] == ["GenerationFailed 1"]


def test_only_arxiv_ids_are_links() -> None:
    items = [
        annotated(1, id="javascript:alert(1)"),
        annotated(2, id="cs/0112017"),
        annotated(3, id_field="paper_id", id="2405.00001"),
        annotated(4, id="2405.00001/../../x"),
    ]
    assert written(items).values("href") == ["https://arxiv.org/abs/cs/0112017"]


def test_hostile_text_stays_text() -> None:
    item = annotated(
        1,
        dict.fromkeys(nanda().names, HOSTILE),
        title=HOSTILE,
        abstract=f"{HOSTILE}. Then more.",
        authors=HOSTILE,
        categories=HOSTILE,
        id=HOSTILE,
    )
    spans = [[place, place + 5] for place in range(0, len(HOSTILE), 7)]
    item.record["anchors"]["claim"] = {"sentences": [1], "spans": spans, "by": "model"}
    failure = Failure(item.paper, HOSTILE, HOSTILE, False, HOSTILE)
    page = written([item], [failure], title=HOSTILE, about={HOSTILE: [HOSTILE]})
    assert len(page.texts["mark"]) > 10
    assert " ".join(page.texts[".sentence"]) == flatten(item.paper.abstract)
    assert "img" not in page.tags
    assert page.tags.count("script") == 1
    assert page.values("data-title") == [flatten(HOSTILE)]
    assert page.texts[".text"][0] == page.texts["h1"][0] == flatten(HOSTILE)
    assert page.texts["pre"] == [f"\n{HOSTILE}"]
    assert page.facts[flatten(HOSTILE)] == flatten(HOSTILE)


def test_reordering_characters_and_half_surrogates_are_removed() -> None:
    failure = Failure(Paper("id", "1", "t", "a"), "InvalidReply", "r", False, "cut \ud83d")
    page = written([annotated(1, title="a\u202eb\u200b", abstract="c\u2066d. E.")], [failure])
    assert page.texts[".title"][-1] == "ab"
    assert page.texts[".sentence"] == ["cd.", "E."]
    assert page.texts["pre"] == ["\ncut \\ud83d"]


def test_the_page_is_self_contained_and_its_scripts_harmless() -> None:
    assert_self_contained(written(corpus(), failures()).page)
    for path in SCRIPTS:
        assert_harmless(path.read_text(encoding="utf-8"))


def test_equal_input_gives_equal_bytes() -> None:
    one, other = (written(corpus(), failures(), about={"planned": 43}).page for _ in range(2))
    assert one == other


def test_papers_are_written_as_they_come() -> None:
    file = io.BytesIO()

    def items() -> Iterator[Annotated]:
        for number in range(1, 6):
            yield annotated(number)
            # Each annotation is written before the next is requested.
            assert f"05.{number:05}".encode() in file.getvalue()

    write_html(file, title="t", items=items(), failures=iter(()), framework=nanda())


def test_the_statistics_are_those_of_stats() -> None:
    tally = stats.Tally(nanda())
    for item in corpus():
        tally.add(item)
    counted = tally.stats(Counter(one.error_type for one in failures()))
    page = written(corpus(), failures())

    def share(found: Any) -> str:
        low, high = found.interval
        if found.of < FEWEST:
            return f"{found.value:.1%}"
        return f"{found.value:.1%}{low:.1%} \N{EN DASH} {high:.1%}"

    labels = {move.name: move.label for move in nanda().moves}
    moves = page.table("Moves")
    for name, move in counted.moves.items():
        row = moves[labels[name]]
        assert (row["Stated"], row["Share"]) == (str(move.stated.count), share(move.stated))
        assert "Support" not in row, "a share of words says nothing about truth"
    for caption, groups in (
        ("Papers by year", counted.years),
        ("Papers by primary category", counted.categories),
    ):
        found = page.table(caption)
        assert list(found) == [group.name for group in groups]
        for group in groups:
            row = found[group.name]
            assert row["Papers"] == str(group.papers)
            assert row["Limitation"] == share(group.stated["limitation"])


def test_few_papers_have_no_intervals_histogram_nor_unknown_facets() -> None:
    page = written([annotated(n, published="", categories="") for n in range(1, FEWEST)])
    assert page.table("Moves")["Claim"]["Share"] == "100.0%"
    assert not {"Papers by year", "Papers by primary category"} & set(page.tables)
    assert "interval" not in page.shown
    assert "Histogram" not in page.page.decode()
    assert not {"year", "category"} & set(page.values("name"))
    assert {"findings", "move.claim"} <= set(page.values("name"))


def test_an_empty_corpus_is_a_page() -> None:
    page = written([])
    assert "Every paper has an annotation." in page.shown
    assert page.page.endswith(b"</html>")


def test_the_moves_are_those_of_the_framework() -> None:
    moves = [
        {"name": "aim", "label": "Aim", "definition": "what for", "write": "the aim"},
        {"name": "year", "label": "Year", "definition": "when", "write": "the year"},
    ]
    data = {"name": "two", "version": "3", "title": "Two moves", "moves": moves}
    framework = Framework.model_validate({**data, "instructions": "x", "tuned_instructions": "x"})
    paper = Paper("id", "1", "A paper", "We aim at boats.")
    item = of_moves(paper, {"aim": "Boats.", "year": "Not stated."}, framework)
    page = written([item], framework=framework)
    assert page.texts[".label"] == ["Aim 1", "Year"]
    assert page.texts[".text"] == ["Boats.", "Not stated."]
    assert "Two moves, version 3" in page.shown
