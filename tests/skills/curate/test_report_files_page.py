"""The report of /curate as a file: every figure, every annotation, and no markup from data."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from curate_workspace import NAMES, PANEL, Workspace, item, panel_of
from curation_report import (
    BAR,
    FACTS,
    OWN,
    RUN,
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
from page_elements import Elements, assert_harmless, assert_self_contained

from skills.corpus.table import TableRow
from skills.curate import report_text
from skills.curate.curator import Criteria, Verdict
from skills.curate.gates import REASONS
from skills.curate.outputs import Curation, VoteForm
from skills.curate.panel import Panel
from skills.curate.report_files import SCRIPTS
from skills.nanda.framework import Framework, nanda
from skills.nanda.paper import Paper
from skills.nanda.sentences import sentence_spans
from skills.nanda.text import flatten


def with_probes(**changed: Any) -> Curation:
    return FACTS.model_copy(update={"probes": FACTS.probes.model_copy(update=changed)})


# Figures


def test_the_outcome_has_counts_and_shares() -> None:
    found = page_of().table("What became of the annotations")
    counts = {name: int(row["Annotations"]) for name, row in found.items()}
    assert counts == {
        "kept": FACTS.kept,
        "rejected by the gates": 1,
        "rejected by the panel": FACTS.rejected - 1,
        "undecided: depends on invalid votes": 1,
        "failed: could not be judged": 1,
        "all": 40,
    }
    assert found["rejected by the gates"]["Share"] == "2.5%"


def test_notes_and_rows_without_an_annotation_are_shown() -> None:
    page = page_of(facts=FACTS)
    assert "Uncalibrated: see /curate --calibrate." in page.shown
    assert "This judge is weak." in page.shown
    shown = " ".join(page.shown.split())
    assert "Of 42 rows, these are left out: 2 no abstract." in shown
    assert (
        "Limits of this report" not in page_of(facts=FACTS.model_copy(update={"notes": []})).shown
    )


def test_the_judge_and_its_votes_are_described() -> None:
    facts = page_of().facts
    assert facts["Judge"] == "fake-model (fake fake-model)"
    assert facts["Weights (fake)"] == f"sha256 {'0' * 64}"
    assert facts["Prompts"] == f"sha256 {PANEL.digest}"
    assert facts["Vote"] == report_text.form_text(FACTS.judge.form)
    assert facts["Votes to keep"] == "3 of 5"
    assert facts["Thresholds"].startswith("alpha 3.000, beta 3.000")
    assert facts["Source of the thresholds"].endswith("uncalibrated")
    assert facts["Tokens"] == "61,000 in prompts, 610 in answers"
    assert (facts["Time"], facts["Run"]) == ("12.5 s", "7 in /home/me/corpus.db")


def test_the_choice_of_the_form_is_shown() -> None:
    caption = "How the form of the vote was chosen"
    found = page_of().table(caption)
    assert {name: list(row.values())[1:] for name, row in found.items()} == {
        "none": ["40.0%", ""],
        "'Rating: '": ["95.0%", "chosen"],
    }
    page = page_of(a_run(OWN, form=VoteForm("json", measured={"": 0.1})))
    assert "JSON" in page.facts["Vote"]
    assert page.table(caption)["none"]["Choice"] == ""


def test_a_calibration_is_described() -> None:
    known = {
        "input": "old.csv",
        "reject_rate": 0.3,
        "achieved": 0.2875,
        "annotations": 400,
        "created_at": "2026-11-24T10:00:00Z",
        "why": "it is of few",
    }
    page = page_of(a_run(OWN, bar=Criteria((2.5, 3.125, 3.0, 3.0, 3.0), 3, known)))
    assert page.facts["Source of the thresholds"] == (
        "calibrated 2026-11-24, see the limits of this report"
    )
    assert "alpha 2.500, beta 3.125" in page.facts["Thresholds"]
    assert page.table("The personas")["beta"]["From"] == "3.125"


def test_every_code_of_the_gates_has_its_count_and_meaning() -> None:
    found = page_of().table("Rejected by the gates, by code")
    assert {code: row["Meaning"] for code, row in found.items()} == REASONS
    assert next(iter(found)) == "number"
    assert (found["number"]["Annotations"], found["number"]["Share"]) == ("1", "2.5%")
    assert found["schema"]["Annotations"] == "0"


def test_each_persona_has_all_its_figures() -> None:
    page = page_of()
    found = page.table("The personas")
    assert list(found) == list(NAMES)
    for known in FACTS.panel.personas:
        row, passed = found[known.name], known.passed
        ends = f"{passed.low:.0%} to {passed.high:.0%}"
        assert list(row.values())[1:] == [
            f"{passed}{ends}",
            "3.000",
            f"{known.mean:.3f}",
            f"{known.mass:.2f}",
            str(known.invalid),
            str(known.weight["deciding"]),
            str(known.auroc),
            "0.250",
        ]
    for persona in PANEL.personas:
        assert persona.title in page.shown
        assert persona.criterion in page.shown
    assert set(list(found["alpha"])[1:]) <= set(page.facts)


def test_the_split_of_the_votes_has_the_outcome() -> None:
    found = page_of().table("How the votes split")
    splits = {split: int(row["Annotations"]) for split, row in found.items()}
    assert splits == FACTS.panel.splits
    outcomes = [row["Outcome"] for row in found.values()]
    assert outcomes == [*["kept"] * 3, *["rejected"] * 3, "decided by the valid votes"]
    strict = page_of(a_run(OWN, bar=replace(BAR, min_votes=5))).table("How the votes split")
    assert [row["Outcome"] for row in strict.values()].count("kept") == 1


def test_agreement_is_shown_with_its_reading() -> None:
    page, panel = page_of(), FACTS.panel
    alpha = panel.alpha["votes"]
    found = page.facts["Krippendorff's alpha of the votes"]
    assert found == f"{alpha}, unreliable, of {alpha.units} annotations"
    assert page.facts["Effective votes"].startswith(f"{panel.effective_votes:.1f} of 5: ")
    length = panel.length
    assert f"rho {length['value']:.2f} (p = {length['p']:.3f})" in page.shown
    differ = panel.vote_against_mean
    assert page.facts["Kept by the votes alone"] == f"{differ['vote_only']} of {differ['of']}"
    assert page.facts["Kept by the mean alone"] == f"{differ['mean_only']} of {differ['of']}"


def test_unanimous_votes_have_no_agreement() -> None:
    page = page_of(a_run([voted(item(number), [4.0] * 5) for number in range(12)]))
    assert page.facts["Krippendorff's alpha of the votes"] == "n/a, unanimous"
    assert page.facts["Effective votes"].startswith("n/a")
    assert "no correlation" in page.shown
    assert page.table("The personas")["alpha"]["AUROC"] == "n/a"


def test_a_run_without_a_judged_annotation_is_a_page() -> None:
    page = page_of(a_run([rejected_by_gates(gated(1)), unjudged(item(2))]))
    assert "The panel has judged no annotation in this run." in page.shown
    assert "This run has no known-bad annotations." in page.shown
    assert "No annotation is close to the threshold." in page.shown
    assert "The personas" not in page.tables


def test_each_kind_of_probe_has_a_row_with_an_example() -> None:
    page, known = page_of(), FACTS.probes
    found = page.table("Kinds that the gates can see")
    assert list(found) == [*known.kinds, "all of these"]
    for name, figures in {**known.kinds, "all of these": known.all}.items():
        shares = [str(one) for one in (figures.gates, figures.panel, figures.together)]
        assert list(found[name].values())[1:5] == [*shares, str(figures.auroc)]
    assert re.fullmatch(r"\w+ was emptied", found["move-emptied"]["Example"])
    page = page_of(facts=with_probes(subtle={"turned": known.kinds["copied"]}))
    assert list(page.table("Kinds that the gates cannot see")) == ["turned"]
    assert "Kinds that the gates cannot see" not in page_of(facts=with_probes(subtle={})).tables


def test_probes_that_failed_are_counted() -> None:
    assert "3 could not be judged" in page_of(facts=with_probes(failed=3)).shown
    assert "could not be judged, and" not in page_of(facts=with_probes(failed=0)).shown


def test_what_each_adds_to_the_gates_is_shown() -> None:
    page = page_of()
    found = page.table("Gates, personas, panel, and both together")
    assert list(found) == ["gates", *NAMES, "panel", "together"]
    for line in FACTS.probes.added:
        row = found[line.who]
        assert row["Known-bad rejected"] == str(line.caught)
        assert row["Yours rejected"] == str(line.cost)
        assert row["Edge"] == ("" if line.edge is None else f"{line.edge:+.2f}")
        assert row["Alone"] == ("" if line.alone is None else str(line.alone))
    assert set(list(found["gates"])[1:]) <= set(page.facts)


def test_charts_show_every_judged_annotation() -> None:
    page = page_of()
    rows = page.tables["Scores: your annotations / known-bad ones"][1:]
    own, bad = zip(*(map(int, row[1].split(" / ")) for row in rows), strict=True)
    judged = [one for one in RUN.probes if one.ballot]
    assert (sum(own), sum(bad)) == (38, len(judged))
    assert page.attributes.count(("class", "point")) == 38


# Annotations


def titles(page: Elements) -> list[str]:
    return page.texts["b"]


def test_what_is_not_kept_or_close_to_the_bar_is_listed() -> None:
    close = [one.title for one in FACTS.panel.borderline.closest]
    refused = [one.item.paper.title for one in OWN if one.decision not in ("kept", "pending")]
    assert titles(page_of()) == [*close, *refused]
    pending = Verdict(item(1), "pending")
    page = page_of(a_run([pending, rejected_by_gates(gated(2))]))
    assert titles(page) == [gated(2).paper.title]


def test_an_annotation_has_abstract_moves_votes_and_reasons() -> None:
    verdict = voted(item(1), (4.0, 1.0, 1.0, 1.0, None), beta="Because it is not so.")
    # The annotation is shown twice, since it is also close to the thresholds.
    page = page_of(a_run([verdict]))
    assert " ".join(page.texts[".sentence"]) == " ".join([item(1).paper.abstract] * 2)
    assert page.texts[".text"] == [item(1).moves[name] for name in nanda().names] * 2
    assert list(page.table("Votes")["beta"].values())[1:] == [
        *("1.000", "3.000", "no pass", "0.95", "Because it is not so.")
    ]
    assert list(page.table("Votes")["epsilon"].values())[1:4] == ["\u2013", "3.000", "invalid"]
    assert page.values("data-reasons") == ["beta gamma delta"] * 2
    assert page.sources["move.method"][0].startswith("We present a method")
    assert "1 of 5 votes" in page.shown


def test_the_sentences_of_a_move_are_those_that_its_annotation_stores() -> None:
    given = item(1)
    first, fourth = (sentence_spans(given.paper.abstract)[number - 1] for number in (1, 4))
    spans = [list(first), [fourth[0], fourth[0] + 12]]
    anchors = {"method": {"sentences": [1, 4], "spans": spans, "by": "model"}}
    row = TableRow("row 1", given.paper, given.moves, anchors=anchors)
    page = page_of(a_run([unjudged(replace(given, entry=row))]))
    passages = [given.paper.abstract[start:end] for start, end in spans]
    assert page.sources["move.method"] == passages
    assert page.texts["mark"] == passages[1:], "the first is a whole sentence"
    assert "From sentences 1 and 4 (given by the model)." in page.shown
    assert "From sentence 6 (found by common words)." in page.shown


def test_findings_and_failures_are_shown() -> None:
    page = page_of(a_run([rejected_by_gates(gated(1)), unjudged(item(2))]))
    flags = page.texts[".flag"]
    assert flags == [
        "the number 777 is not in the abstract",
        "GenerationFailed: The server went away",
    ]
    assert page.values("data-reasons") == ["number", "failed"]
    assert page.shown.count("The panel has not judged this annotation.") == 2


def test_only_arxiv_ids_are_links() -> None:
    papers = [
        Paper("arxiv_id", "javascript:alert(1)", "", "a"),
        Paper("paper_id", "2405.00001", "", "b"),
        Paper("arxiv_id", "2405.00001", "", "c"),
    ]
    empty = dict.fromkeys(nanda().names, "")
    page = page_of(a_run([rejected_by_gates(of_paper(paper, empty)) for paper in papers]))
    links = [link for link in page.values("href") if not link.startswith("#")]
    assert links == ["https://arxiv.org/abs/2405.00001"]


def test_the_moves_are_those_of_the_framework() -> None:
    move = {"name": "aim", "label": "Aim", "definition": "what for", "write": "the aim"}
    data = {"name": "one", "version": "1", "title": "One", "moves": [move]}
    framework = Framework.model_validate({**data, "instructions": "x", "tuned_instructions": "x"})
    page = page_of(a_run([unjudged(item(1, aim="To sort."))], framework=framework))
    assert (page.texts[".label"], page.texts[".text"]) == (["Aim 1"], ["To sort."])


# The file


def hostile_panel() -> Panel:
    personas = [
        {**one.model_dump(), "title": HOSTILE, "criterion": HOSTILE} for one in PANEL.personas
    ]
    return panel_of(version=HOSTILE, personas=personas)


def test_hostile_text_stays_text() -> None:
    paper = Paper("arxiv_id", HOSTILE, HOSTILE, f"{HOSTILE}. Then more.")
    moves = dict.fromkeys(nanda().names, HOSTILE)
    own = [
        rejected_by_gates(of_paper(paper, moves, HOSTILE)),
        unjudged(item(1), HOSTILE),
        voted(item(2), [2.0] * 5, alpha=HOSTILE),
    ]
    bad = [by_chance(replace(item(4), probe="copied", changed=HOSTILE))]
    form = VoteForm("logprobs", HOSTILE, 0.9, {HOSTILE: 0.9})
    run = a_run(own, bad, panel=hostile_panel(), form=form, name=f"data/{HOSTILE}")
    page = page_of(run, summed(run, HOSTILE).model_copy(update={"database": HOSTILE}))
    assert "img" not in page.tags
    assert page.tags.count("script") == 1
    assert page.texts["title"] == [f"Curation of {flatten(HOSTILE.split('/')[-1])}"]
    assert page.texts[".text"][0] == flatten(HOSTILE)
    assert "\u202e" not in page.shown


def test_the_page_is_self_contained_and_its_scripts_harmless() -> None:
    assert_self_contained(written(RUN, FACTS))
    for path in SCRIPTS:
        assert_harmless(path.read_text(encoding="utf-8"))


def test_every_link_leads_to_a_section() -> None:
    page = page_of()
    ids = page.values("id")
    links = {link[1:] for link in page.values("href") if link.startswith("#")}
    assert links == {"outcome", "gates", "panel", "probes", "rows", "judge"}
    assert links <= set(ids)
    assert len(set(ids)) == len(ids)


def test_equal_input_gives_equal_bytes() -> None:
    again = mixed()
    assert written(a_run(again, known_bad(again))) == written(RUN, summed(RUN))


def test_curate_writes_it_beside_the_target(workspace: Workspace) -> None:
    workspace.rows(*range(6))
    workspace.judge.scores[2, ""] = 1.0
    workspace.curate()
    page = Elements((workspace.folder / "agent_curation_report.html").read_bytes())
    assert page.texts["title"] == ["Curation of agent.csv"]
    found = page.table("What became of the annotations")
    assert (found["kept"]["Annotations"], found["all"]["Annotations"]) == ("5", "6")
    assert page.values("data-reasons")
    assert "ncalibrated" in page.shown


@pytest.mark.parametrize("mark", ["<table", "<svg", "<section"])
def test_all_figures_are_plain_html(mark: str) -> None:
    assert written(RUN, FACTS).count(mark.encode()) >= 5
