"""What the report holds of the annotations, and that nothing in it can break out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import pytest
from curate_workspace import PANEL, Workspace, item, panel_of
from curation_report import (
    BAR,
    FACTS,
    OWN,
    RUN,
    Elements,
    a_run,
    by_chance,
    gated,
    known_bad,
    mixed,
    of_paper,
    page_of,
    rejected_by_gates,
    summed,
    unjudged,
    voted,
    written,
)
from page_corpus import HOSTILE

from skills.corpus.page_parts import ASSETS as SHARED
from skills.curate.inputs.gates import REASONS
from skills.curate.page.document import ASSETS, SCRIPTS, STYLES
from skills.curate.page.markup import h, html, prose
from skills.curate.panel.panel import Panel
from skills.curate.panel.vote_mode import VoteForm
from skills.curate.store.verdicts import Verdict
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper
from skills.nanda.text import flatten

# Annotations


def test_all_that_is_not_kept_is_in_it_and_what_is_close_to_the_bar() -> None:
    rows = page_of().data("shown")
    close = {one["id"] for one in FACTS["panel"]["borderline"]["closest"]}
    expected = [
        one.item.paper.id for one in OWN if one.decision != "kept" or one.item.paper.id in close
    ]
    assert [row["id"] for row in rows] == expected
    places = {row["id"]: row["close"] for row in rows if row["close"]}
    for place, one in enumerate(FACTS["panel"]["borderline"]["closest"]):
        assert places[one["id"]] == [place, one["distance"]]


def test_no_probe_is_among_them() -> None:
    rows = page_of().data("shown")
    assert RUN.probes
    assert {row["where"] for row in rows} <= {one.item.where for one in OWN}


def test_what_is_not_judged_yet_is_no_row() -> None:
    pending = Verdict(item(1), "pending")
    assert page_of(a_run([pending, rejected_by_gates(gated(2))])).data("shown")[0]["id"] == (
        "2401.00002"
    )


def test_a_row_has_abstract_moves_votes_and_reasons() -> None:
    verdict = voted(item(1), (4.0, 2.0, 1.5, 2.25, None), beta="Because it is not so.")
    page = page_of(a_run([verdict]))
    (row,) = page.data("shown")
    assert " ".join(row["sentences"]) == item(1).paper.abstract
    assert row["moves"] == [item(1).moves[name] for name in nanda().names]
    assert row["votes"] == [
        [4.0, True, 0.95, ""],
        [2.0, False, 0.95, "Because it is not so."],
        [1.5, False, 0.95, ""],
        [2.25, False, 0.95, ""],
        [None, None, 0.2, ""],
    ]
    assert row["reasons"] == ["beta", "gamma", "delta"]
    method = row["source"][list(nanda().names).index("method")]
    assert row["sentences"][method[0]].startswith("We present a method")
    about = page.data("about")
    assert {*row["reasons"], *REASONS, "invalid-votes", "failed"} <= set(about["reasons"])
    assert [one["threshold"] for one in about["personas"]] == list(BAR.thresholds)


def test_what_the_gates_found_stands_at_its_move() -> None:
    (row,) = page_of(a_run([rejected_by_gates(gated(1))])).data("shown")
    assert row["findings"] == [["claim", "the number 777 is not in the abstract"]]
    assert (row["reasons"], row["votes"]) == (["number"], [])


def test_a_row_that_failed_says_why() -> None:
    (row,) = page_of(a_run([unjudged(item(1))])).data("shown")
    assert (row["reasons"], row["error"]) == (
        ["failed"],
        "GenerationFailed: The server went away",
    )


def test_only_ids_that_are_arxivs_become_links() -> None:
    papers = [
        Paper("arxiv_id", "javascript:alert(1)", "", "a"),
        Paper("paper_id", "2405.00001", "", "b"),
        Paper("arxiv_id", "2405.00001", "", "c"),
    ]
    own = [rejected_by_gates(of_paper(paper, {})) for paper in papers]
    assert [row["arxiv"] for row in page_of(a_run(own)).data("shown")] == [False, False, True]


def test_the_moves_are_those_of_the_framework() -> None:
    move = {"name": "aim", "label": "Aim", "definition": "what for", "write": "the aim"}
    data = {"name": "one", "version": "1", "title": "One", "moves": [move]}
    framework = Framework.model_validate({**data, "instructions": "x", "tuned_instructions": "x"})
    run = a_run([unjudged(item(1, aim="To sort."))])
    page = Elements(written(run, framework=framework))
    assert [known["label"] for known in page.data("about")["moves"]] == ["Aim"]
    assert page.data("shown")[0]["moves"] == ["To sort."]


# The file


def hostile_panel() -> Panel:
    personas = [
        {**one.model_dump(), "title": HOSTILE, "criterion": HOSTILE} for one in PANEL.personas
    ]
    return panel_of(version=HOSTILE, personas=personas)


def test_hostile_text_stays_text() -> None:
    paper = Paper("arxiv_id", HOSTILE, HOSTILE, f"{HOSTILE}. Then more.")
    said = dict.fromkeys(nanda().names, HOSTILE)
    own = [
        rejected_by_gates(of_paper(paper, said, HOSTILE)),
        unjudged(item(1), HOSTILE),
        voted(item(2), [2.0] * 5, alpha=HOSTILE),
    ]
    tame = [rejected_by_gates(gated(3)), unjudged(item(1)), voted(item(2), [2.0] * 5, alpha="x")]
    bad = [by_chance(replace(item(4), probe="copied", changed=HOSTILE))]
    tame_bad = [by_chance(replace(item(4), probe="copied", changed="x"))]
    form = VoteForm("logprobs", HOSTILE, 0.9, {HOSTILE: 0.9})
    evil = a_run(own, bad, panel=hostile_panel(), form=form, name=f"data/{HOSTILE}")
    plain = a_run(tame, tame_bad, form=VoteForm("logprobs", "x", 0.9, {"x": 0.9}))
    page_bytes = written(evil, {**summed(evil, HOSTILE), "database": HOSTILE})
    page, other = Elements(page_bytes), Elements(written(plain, summed(plain, "x")))
    assert page.tags == other.tags
    assert "img" not in page.tags
    assert page_bytes.count(b"</script>") == written(plain).count(b"</script>")
    assert page.texts["title"] == f"Curation of {flatten(HOSTILE.split('/')[-1])}"
    assert flatten(HOSTILE) in page.shown
    assert "\u202e" not in page.shown
    first, failed, rejected = page.data("shown")
    assert first["title"] == first["moves"][0] == first["where"] == flatten(HOSTILE)
    assert flatten(HOSTILE) in failed["error"]
    assert rejected["votes"][0][3] == flatten(HOSTILE)
    for name in ("about", "shown"):
        assert not re.search("[<>&\u2028\u2029]", page.texts[name])


def test_a_text_in_an_element_is_no_markup_and_keeps_its_blanks() -> None:
    made = h("p", {"title": '"><b>'}, "a <b> ", h("i", {}, "&"), " \u202eevil\x00 ", 1234)
    assert html(made) == (b'<p title="&quot;&gt;<b&gt;">a &lt;b&gt; <i>&amp;</i> evil 1,234</p>\n')


def test_pairs_of_grave_accents_make_code_and_a_lone_one_does_not() -> None:
    assert html(h("p", {}, *prose("a `b` c"))) == b"<p>a <code>b</code> c</p>\n"
    assert html(h("p", {}, *prose("a `b c"))) == b"<p>a `b c</p>\n"


def test_the_policy_allows_its_own_script_and_style_and_no_network() -> None:
    page = written(RUN, FACTS)
    policy = dict(part.split(" ", 1) for part in Elements(page).policy.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["base-uri"] == policy["form-action"] == "'none'"
    for kind, tag in (("script-src", b"<script>"), ("style-src", b"<style>")):
        text = page.split(tag)[1].split(tag.replace(b"<", b"</"))[0]
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert policy[kind] == f"'sha256-{digest}'"


def test_it_names_no_address_but_arxivs_and_loads_nothing() -> None:
    page = written(RUN, FACTS)
    assert set(re.findall(rb"\w+://[^/\s]*/\w*", page)) == {b"https://arxiv.org/abs"}
    attributes = Elements(page).attributes
    names = {name for name, _ in attributes}
    assert names.isdisjoint({"src", "srcset", "style", "onclick", "onload", "action"})
    assert {str(value)[0] for name, value in attributes if name == "href"} == {"#"}
    assert not re.search(rb"url\(|@import|@font-face", page)


def test_every_link_leads_to_a_section() -> None:
    attributes = page_of().attributes
    links = {str(value)[1:] for name, value in attributes if name == "href"}
    ids = [value for name, value in attributes if name == "id"]
    assert links == {"outcome", "gates", "panel", "probes", "rows"}
    assert links <= set(ids)
    assert len(set(ids)) == len(ids)


def test_its_programs_make_no_markup_of_data_and_ask_no_network() -> None:
    program = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    forbidden = (
        "innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|document.write|"
        r"\beval\b|\bFunction\b|fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import\("
    )
    assert not re.search(forbidden, program)


def test_every_asset_is_used_and_short() -> None:
    used = {*SCRIPTS, *STYLES, ASSETS / "report.html"}
    assert {*ASSETS.iterdir()} == {path for path in used if path.parent != SHARED}
    for path in ASSETS.iterdir():
        assert len(path.read_text(encoding="utf-8").splitlines()) < 300, path.name


def test_equal_input_gives_equal_bytes() -> None:
    again = mixed()
    assert written(a_run(again, known_bad(again))) == written(RUN, summed(RUN))


@pytest.mark.parametrize("mark", ["<table", "<svg", "<section"])
def test_it_is_plain_html_before_any_program(mark: str) -> None:
    before = written(RUN, FACTS).split(b'<script type="application/json"')[0]
    assert before.count(mark.encode()) >= 5


def test_curate_writes_it_beside_the_target(workspace: Workspace) -> None:
    workspace.rows(*range(6))
    workspace.judge.scores[2, ""] = 1.0
    workspace.curate()
    page = Elements((workspace.folder / "agent_curation_report.html").read_bytes())
    assert page.texts["title"] == "Curation of agent.csv"
    found = page.table("What became of the annotations")
    assert (found["kept"]["Annotations"], found["all"]["Annotations"]) == ("5", "6")
    assert [row["id"] for row in page.data("shown")] == ["2401.00002"]
    assert "Uncalibrated: the thresholds are defaults" in page.shown
