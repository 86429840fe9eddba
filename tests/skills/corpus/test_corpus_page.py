"""The page as a file: what it holds, and that nothing in it can break out of its place."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from page_corpus import HOSTILE, annotated, corpus, failures, of_moves

from skills.corpus.page import ASSETS, SCRIPTS, STYLES, write_html
from skills.corpus.records import Annotated, Failure
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper
from skills.nanda.text import flatten


class Elements(HTMLParser):
    """The elements of a page, and the text of those that hold data, programs or styles."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, str] = {}
        self.policy = ""
        self._name = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes += attrs
        self._name = given.get("id") or tag
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._name = ""

    def handle_data(self, data: str) -> None:
        if self._name:
            self.texts[self._name] = self.texts.get(self._name, "") + data

    def data(self, name: str) -> Any:
        return json.loads(self.texts[name])


def written(
    items: list[Annotated], failed: list[Failure] | None = None, **more: Any
) -> tuple[bytes, Elements]:
    file = io.BytesIO()
    given = {"title": "Papers", "framework": nanda(), **more}
    write_html(file, items=items, failures=failed or [], **given)
    return file.getvalue(), Elements(file.getvalue())


def test_everything_of_a_paper_is_in_it() -> None:
    item = annotated(5)
    _, page = written([item])
    (paper,) = page.data("papers")
    assert paper["id"] == "2605.00005"
    assert paper["arxiv"] is True
    assert paper["title"] == item.paper.title
    assert (paper["published"], paper["year"]) == ("2026-05-06", 2026)
    assert paper["categories"] == []
    assert " ".join(paper["sentences"]) == item.paper.abstract
    names = nanda().names
    assert [text or "Not stated." for text in paper["moves"]] == [item.record[n] for n in names]
    checks = item.record["checks"]
    assert paper["support"] == [checks["support"].get(name) for name in names]
    assert paper["copied"] == [checks["copied"].get(name) for name in names]
    shared = page.data("page")["provenances"][paper["shared"]]
    assert {**shared, **paper["own"]} == item.record["provenance"]


def test_the_source_of_a_move_is_the_sentence_that_the_checks_name() -> None:
    item = annotated(5)
    (paper,) = written([item])[1].data("papers")
    for name, source in zip(nanda().names, paper["source"], strict=True):
        stored = item.record["checks"]["source"].get(name)
        assert (source is None) == (stored is None)
        if source is not None:
            assert paper["sentences"][source[0]] == stored["text"]
            assert source[1] == stored["score"]


def test_a_source_at_another_place_is_found_and_one_of_another_abstract_is_none() -> None:
    item = annotated(5)
    item.record["checks"]["source"]["claim"]["index"] = 3
    item.record["checks"]["source"]["method"]["text"] = "Another abstract says so."
    (paper,) = written([item])[1].data("papers")
    by_move = dict(zip(nanda().names, paper["source"], strict=True))
    assert paper["sentences"][by_move["claim"][0]].startswith("We present Keeper5")
    assert by_move["method"] is None


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (
            "It gains 98,765 points over GPT-9 on tests.",
            ["It gains ", "98,765", " points over ", "GPT-9", " on tests."],
        ),
        ("98765, not 987650 or 9.98765", ["", "98765", ", not ", "987650", " or ", "9.98765", ""]),
        ("GPT-9 and GPT-90 differ", ["", "GPT-9", " and ", "GPT-90", " differ"]),
        ("Up by .5 and 5", ["Up by ", ".5", " and ", "5", ""]),
        ("32 harbours and 2", ["32 harbours and ", "2", ""]),
        ("12,500 litres, 2 and 500", ["12,500 litres, ", "2", " and ", "500", ""]),
        ("It saves 12500 litres", "It saves 12500 litres"),
    ],
)
def test_what_the_abstract_lacks_is_told_apart_in_a_move(text: str, pieces: object) -> None:
    (paper,) = written([annotated(22, {"evidence": text})])[1].data("papers")
    assert paper["moves"][1] == pieces


def test_provenance_that_papers_share_is_written_once() -> None:
    _, page = written(corpus())
    assert len(page.data("page")["provenances"]) == 2
    assert {paper["shared"] for paper in page.data("papers")} == {0, 1}


def test_moves_that_say_the_same_are_named_by_their_place() -> None:
    same = "A planner moves the boats at dawn."
    (paper,) = written([annotated(1, {"claim": same, "novelty": same})])[1].data("papers")
    assert paper["duplicates"] == [[0, 7, 1.0]]


def test_failures_keep_their_reason_and_the_lines_of_the_reply() -> None:
    _, page = written([], failures())
    first, second, _ = page.data("failures")
    assert first["raw_reply"] == "Claim: <b>\nx"
    assert first["error_type"] == "InvalidReply"
    assert (second["reason"], second["retryable"]) == ("The server went away.", True)


def test_only_ids_that_are_arxivs_become_links() -> None:
    items = [
        annotated(1, id="javascript:alert(1)"),
        annotated(2, id="cs/0112017"),
        annotated(3, id_field="paper_id", id="2405.00001"),
        annotated(4, id="2405.00001/../../x"),
    ]
    links = [paper["arxiv"] for paper in written(items)[1].data("papers")]
    assert links == [False, True, False, False]


def test_hostile_text_stays_data() -> None:
    item = annotated(
        1,
        dict.fromkeys(nanda().names, HOSTILE),
        title=HOSTILE,
        abstract=f"{HOSTILE}. Then more.",
        authors=HOSTILE,
        categories=HOSTILE,
        id=HOSTILE,
    )
    failure = Failure(item.paper, HOSTILE, HOSTILE, False, HOSTILE)
    plain_page, plain = written([annotated(1)], failures())
    page, hostile = written([item], [failure], title=HOSTILE, about={HOSTILE: [HOSTILE]})
    assert hostile.tags == plain.tags
    assert "img" not in hostile.tags
    assert page.count(b"</script>") == plain_page.count(b"</script>")
    (paper,) = hostile.data("papers")
    assert paper["title"] == paper["moves"][0] == flatten(HOSTILE)
    assert hostile.data("failures")[0]["raw_reply"] == HOSTILE
    assert hostile.data("page")["about"] == {HOSTILE: [HOSTILE]}
    assert hostile.texts["title"] == flatten(HOSTILE)
    for name in ("papers", "failures", "page"):
        assert not re.search("[<>&\u2028\u2029]", hostile.texts[name])


def test_nothing_in_it_reorders_the_text_around_it() -> None:
    (paper,) = written([annotated(1, title="a\u202eb\u200b", abstract="c\u2066d. E.")])[1].data(
        "papers"
    )
    assert (paper["title"], paper["sentences"]) == ("ab", ["cd.", "E."])


def test_half_a_surrogate_pair_is_written_and_read_again() -> None:
    failure = Failure(Paper("id", "1", "t", "a"), "InvalidReply", "r", False, "cut \ud83d")
    assert written([], [failure])[1].data("failures")[0]["raw_reply"] == "cut \ud83d"


def test_the_policy_allows_its_own_script_and_style_and_no_network() -> None:
    page, elements = written(corpus(), failures())
    policy = dict(part.split(" ", 1) for part in elements.policy.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["base-uri"] == policy["form-action"] == "'none'"
    for kind, tag in (("script-src", b"<script>"), ("style-src", b"<style>")):
        text = page.split(tag)[1].split(tag.replace(b"<", b"</"))[0]
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert policy[kind] == f"'sha256-{digest}'"


def test_it_names_no_address_but_arxivs_and_loads_nothing() -> None:
    page, elements = written(corpus(), failures())
    assert set(re.findall(rb"\w+://[^/\s]*/\w*", page)) == {b"https://arxiv.org/abs"}
    names = {name for name, _ in elements.attributes}
    assert names.isdisjoint({"src", "href", "srcset", "style", "onclick", "onload", "action"})
    assert not re.search(rb"url\(|@import|@font-face", page)


def test_its_programs_make_no_markup_of_data_and_ask_no_network() -> None:
    program = "".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    forbidden = (
        "innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|document.write|"
        r"\beval\b|\bFunction\b|fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import\("
    )
    assert not re.search(forbidden, program)


def test_every_asset_is_used_and_short() -> None:
    assert {path.name for path in ASSETS.iterdir()} == {*SCRIPTS, *STYLES, "page.html"}
    for path in ASSETS.iterdir():
        assert len(path.read_text(encoding="utf-8").splitlines()) < 300, path.name


def test_equal_input_gives_equal_bytes() -> None:
    one, other = (written(corpus(), failures(), about={"planned": 43})[0] for _ in range(2))
    assert one == other


def test_papers_are_written_as_they_come() -> None:
    file = io.BytesIO()

    def items() -> Iterator[Annotated]:
        for number in range(1, 6):
            yield annotated(number)
            # Asked for the next one, the writer is done with this one.
            assert f"Keeping {'FBLO'[number % 4]}".encode() in file.getvalue()
            assert f"05.{number:05}".encode() in file.getvalue()

    write_html(file, title="t", items=items(), failures=iter(()), framework=nanda())


def test_without_papers_it_is_still_a_page() -> None:
    page, elements = written([])
    assert elements.data("papers") == elements.data("failures") == []
    assert page.endswith(b"</html>\n")


def test_the_moves_are_those_of_the_framework() -> None:
    moves = [
        {"name": "aim", "label": "Aim", "definition": "what for", "write": "the aim"},
        {"name": "year", "label": "Year", "definition": "when", "write": "the year"},
    ]
    framework = Framework.model_validate(
        {
            "name": "two",
            "version": "3",
            "title": "Two moves",
            "moves": moves,
            "instructions": "x",
            "tuned_instructions": "x",
        }
    )
    paper = Paper("id", "1", "A paper", "We aim at boats.")
    item = of_moves(paper, {"aim": "Boats.", "year": "Not stated."}, framework)
    page = written([item], framework=framework)[1]
    assert [move["label"] for move in page.data("page")["framework"]["moves"]] == ["Aim", "Year"]
    assert page.data("papers")[0]["moves"] == ["Boats.", None]
