"""The report as a file: every figure is in it without a program, and nothing breaks out of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from curate_workspace import NAMES, PANEL, item
from curation_report import (
    BAR,
    FACTS,
    OWN,
    RUN,
    a_run,
    gated,
    page_of,
    rejected_by_gates,
    unjudged,
    voted,
)

from skills.curate.inputs.gates import REASONS
from skills.curate.page import drawings
from skills.curate.page.markup import html
from skills.curate.panel.vote_mode import VoteForm
from skills.curate.report import text
from skills.curate.store.verdicts import Criteria


def with_probes(**changed: Any) -> dict[str, Any]:
    return {**FACTS, "probes": {**FACTS["probes"], **changed}}


# Figures


def test_the_outcome_is_told_with_its_shares() -> None:
    found = page_of().table("What became of the annotations")
    counts = {name: row["Annotations"] for name, row in found.items()}
    assert counts == {
        "kept": str(FACTS["kept"]),
        "rejected by the gates": "1",
        "rejected by the panel": str(FACTS["rejected"] - 1),
        "open: invalid votes could turn it": "1",
        "failed: could not be judged": "1",
        "all": "40",
    }
    assert sum(int(count) for name, count in counts.items() if name != "all") == 40
    assert found["rejected by the gates"]["Share"] == "2.5%"


def test_the_bar_has_a_part_for_each_outcome_in_proportion() -> None:
    drawn = html(drawings.bar([("kept", 3), ("gated", 0), ("voted", 1)], "Outcome")).decode()
    parts = re.findall(r'class="part (\w+)" x="([\d.]+)" y="0" width="([\d.]+)"', drawn)
    assert parts == [("kept", "0", "750"), ("voted", "750", "250")]


def test_notes_and_rows_without_an_annotation_are_told() -> None:
    page = page_of(facts=FACTS)
    assert "Uncalibrated: see /curate --calibrate." in page.shown
    assert "This judge is weak." in page.shown
    assert "Of 42 rows some have nothing to judge: 2 no abstract." in page.shown
    assert "Before you believe it" not in page_of(facts={**FACTS, "notes": []}).shown


def test_the_judge_and_how_it_was_asked_are_told() -> None:
    facts = page_of().facts
    assert facts["Judge"] == "fake-model (fake fake-model)"
    assert facts["Its weights (fake)"] == f"sha256 {'0' * 64}"
    assert facts["What it is sent"] == f"sha256 {PANEL.digest}"
    assert facts["Asked"] == (
        "for the probabilities of one token, after the reply's beginning 'Rating: '; "
        "95.0% of the probability lay on the answers"
    )
    assert facts["Kept with"] == "3 of 5 votes"
    assert facts["A vote passes from"].startswith("alpha 3.000, beta 3.000")
    assert facts["Thresholds come from"].endswith("uncalibrated")
    assert facts["Tokens"] == "61,000 of prompts, 610 of answers"
    assert (facts["Time"], facts["Run"]) == ("12.5 s", "7 of /home/me/corpus.db")


def test_what_was_measured_says_what_was_taken() -> None:
    found = page_of().table("How the form of the question was chosen")
    assert {name: list(row.values())[1:] for name, row in found.items()} == {
        "none": ["40.0%", ""],
        "'Rating: '": ["95.0%", "taken"],
    }


def test_a_judge_that_was_asked_for_json_is_told_as_such() -> None:
    page = page_of(a_run(OWN, form=VoteForm("json", measured={"": 0.1})))
    assert "as JSON under a schema" in page.facts["Asked"]
    assert page.table("How the form of the question was chosen")["none"]["Choice"] == ""


def test_a_calibration_is_told_as_the_quota_it_is() -> None:
    known = {
        "input": "old.csv",
        "reject_rate": 0.3,
        "achieved": 0.2875,
        "annotations": 400,
        "created_at": "2026-11-24T10:00:00Z",
        "why": "it is of few",
    }
    page = page_of(a_run(OWN, bar=Criteria((2.5, 3.125, 3.0, 3.0, 3.0), 3, known)))
    assert page.facts["Thresholds come from"] == (
        "a calibration on 2026-11-24 on old.csv (400 annotations) to the quota of 30% rejected, "
        "of which 28.7% came out; it is of few"
    )
    assert "alpha 2.500, beta 3.125" in page.facts["A vote passes from"]
    assert page.table("The personas")["beta"]["From"] == "3.125"


def test_every_code_of_the_gates_has_its_count_and_meaning() -> None:
    found = page_of().table("Rejected by the gates, by code")
    assert {code: row["What it means"] for code, row in found.items()} == REASONS
    assert next(iter(found)) == "number"
    assert (found["number"]["Annotations"], found["number"]["Of all"]) == ("1", "2.5%")
    assert found["schema"]["Annotations"] == "0"


def test_each_persona_has_all_its_figures() -> None:
    page = page_of()
    rows = page.tables["The personas"][1:]
    assert [row[0] for row in rows] == list(NAMES)
    for row, known in zip(rows, FACTS["panel"]["personas"], strict=True):
        passed = known["passed"]
        ends = f"({passed['low']:.0%} to {passed['high']:.0%})"
        assert row == [
            known["name"],
            f"{passed['count']} of {passed['of']}, {passed['share']:.0%} {ends}",
            "",
            "3.000",
            f"{known['mean']:.3f}",
            f"{known['mass']:.2f}",
            str(known["invalid"]),
            str(known["weight"]["deciding"]),
            text.interval(known["auroc"]),
            "",
            "0.250",
        ]
    for persona in PANEL.personas:
        assert persona.title in page.shown
        assert persona.criterion in page.shown
    assert "Decides" in page.facts


def test_the_split_says_what_is_kept() -> None:
    found = page_of().table("How the votes split")
    assert {split: int(row["Annotations"]) for split, row in found.items()} == (
        FACTS["panel"]["splits"]
    )
    assert [row["Outcome"] for row in found.values()] == [
        *["kept"] * 3,
        *["rejected"] * 3,
        "as the valid votes say",
    ]
    strict = page_of(a_run(OWN, bar=replace(BAR, min_votes=5))).table("How the votes split")
    assert [row["Outcome"] for row in strict.values()].count("kept") == 1


def test_agreement_is_told_with_its_reading() -> None:
    page, panel = page_of(), FACTS["panel"]
    alpha = panel["alpha"]["votes"]
    told = page.facts["Krippendorff's alpha on passing"]
    assert told == f"{text.interval(alpha)}, unreliable, of {alpha['units']} annotations"
    assert page.facts["Effective votes"].startswith(f"{panel['effective_votes']:.1f} of 5: ")
    length = panel["length"]
    assert f"rho {length['value']:.2f} (p = {length['p']:.3f})" in page.shown
    differ = panel["vote_against_mean"]
    assert page.facts["Kept by the votes alone"] == f"{differ['vote_only']} of {differ['of']}"
    assert page.facts["Kept by the mean alone"] == f"{differ['mean_only']} of {differ['of']}"


def test_unanimous_votes_have_no_agreement_and_say_so() -> None:
    page = page_of(a_run([voted(item(number), [4.0] * 5) for number in range(12)]))
    assert page.facts["Krippendorff's alpha on passing"] == "n/a, unanimous"
    assert page.facts["Effective votes"].startswith("n/a")
    assert "no correlation" in page.shown
    assert "Known-bad annotations" in page.shown
    assert page.table("The personas")["alpha"]["AUROC"] == "n/a"


def test_without_a_judged_annotation_it_is_still_a_page() -> None:
    page = page_of(a_run([rejected_by_gates(gated(1)), unjudged(item(2))]))
    assert "It has judged nothing in this run." in page.shown
    assert "There are none in this run." in page.shown
    assert "No annotation is close to the bar." in page.shown
    assert "The personas" not in page.tables


# Probes


def test_each_kind_of_probe_has_a_row_with_an_example() -> None:
    page = page_of()
    found = page.tables["Kinds that the gates can see"][1:]
    known = FACTS["probes"]
    assert [row[0] for row in found] == [*known["kinds"], "all of these"]
    for row, figures in zip(found, [*known["kinds"].values(), known["all"]], strict=True):
        shares = [text.share(figures[who]) for who in ("gates", "panel", "together")]
        assert row[2:6] == [*shares, text.interval(figures["auroc"])]
    examples = {row[0]: row[1] for row in found}
    assert re.fullmatch(r"\w+ was emptied", examples["move-emptied"])


def test_kinds_that_gates_cannot_see_have_a_table_of_their_own_without_the_sum() -> None:
    kind = FACTS["probes"]["kinds"]["copied"]
    page = page_of(facts=with_probes(subtle={"turned": kind}))
    rows = page.tables["Kinds that the gates cannot see"][1:]
    assert [row[0] for row in rows] == ["turned"]
    assert "Kinds that the gates cannot see" not in page_of(facts=with_probes(subtle={})).tables


def test_probes_that_failed_are_counted() -> None:
    assert "3 could not be judged" in page_of(facts=with_probes(failed=3)).shown
    assert "could not be judged, and" not in page_of(facts=with_probes(failed=0)).shown


def test_what_each_adds_to_the_gates_is_told_and_explained() -> None:
    page = page_of()
    found = page.table("Gates, personas, panel, and both together")
    assert list(found) == ["gates", *NAMES, "panel", "together"]
    for line in FACTS["probes"]["added"]:
        row = found[line["who"]]
        assert row["Known-bad caught"] == text.share(line["caught"])
        assert row["Yours rejected"] == text.share(line["cost"])
        assert row["Edge"] == ("" if line["edge"] is None else f"{line['edge']:+.2f}")
        assert row["Alone"] == ("" if line["alone"] is None else str(line["alone"]))
    assert {"Known-bad caught", "Yours rejected", "Edge", "Alone", "No vote"} <= set(page.facts)


# Drawings


def test_scores_fall_into_steps_and_the_highest_belongs_to_the_last() -> None:
    counts = drawings.binned([1.0, 1.19, 1.2, 3.0, 4.999, 5.0], 1.0, 5.0)
    assert (counts[0], counts[1], counts[10], counts[-1], sum(counts)) == (2, 1, 1, 2, 6)
    assert drawings.binned([0.0, 1.0], 0.0, 1.0)[-1] == 1


def test_the_threshold_stands_where_it_is_on_the_scale() -> None:
    counts = drawings.binned([3.0], 1.0, 5.0)
    places = []
    for threshold in (1.0, 3.0, 5.0):
        drawn = drawings.histogram(counts, counts, (1.0, 5.0), threshold, "said")
        line = next(one for one in drawn if one.get("class") == "threshold")
        places.append(float(line.get("x1", "")))
    assert places == [8, 150, 292]


def test_the_histograms_are_there_in_figures_too() -> None:
    page = page_of()
    rows = page.tables["Scores: your annotations / known-bad ones"][1:]
    own, bad = zip(*(map(int, row[1].split(" / ")) for row in rows), strict=True)
    judged = [one for one in RUN.probes if one.ballot]
    assert (sum(own), sum(bad)) == (38, len(judged))


def test_an_interval_reaches_from_low_to_high() -> None:
    found = {"low": 0.0, "high": 0.5}
    drawn = drawings.interval(found, 0.25, 0.5)
    assert drawn is not None
    by_class = {one.get("class"): one for one in drawn}
    ends = by_class["interval"].get("x1"), by_class["interval"].get("x2")
    assert (*ends, by_class["dot"].get("cx")) == ("8", "66", "37")
    assert by_class["chance"].get("x1") == "66"
    assert drawings.interval({"low": None, "high": None}, 0.5, 0.5) is None
    assert drawings.interval(found, None, 0.5) is None


def test_every_judged_annotation_is_a_point() -> None:
    page = page_of()
    assert page.attributes.count(("class", "point")) == 38
