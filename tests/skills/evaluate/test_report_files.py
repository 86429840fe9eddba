"""The page of /evaluate: all figures, the worst papers, and no markup from data."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from evaluate_workspace import FACTS, annotator_of
from page_corpus import HOSTILE
from page_elements import Elements, assert_self_contained

from skills.annotate import plan
from skills.evaluate import comparison, move_metrics, report_files, source_metrics
from skills.evaluate import report_text as report
from skills.evaluate.annotators import Annotator, Labelled, Subject
from skills.evaluate.outputs import Evaluation
from skills.evaluate.report_text import verdict
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

NOT = nanda().not_stated


def moves(number: int) -> dict[str, str]:
    stated = {"claim": f"Plan {number} keeps the bees calm.", "method": "It hums to them."}
    return {name: stated.get(name, NOT) for name in nanda().names}


def subject_of(count: int, extra: str = "") -> Subject:
    papers = [
        Paper("id", f"p{n}", f"Bees {extra}", f"Bees sting. Plan {n} hums to them {extra}.")
        for n in range(count)
    ]
    source = plan.from_papers(f"bees.csv {extra}", papers)
    return Subject(source, nanda(), [moves(n) for n in range(count)])


def model(subject: Subject, name: str = "a-model", wrong: int = -1) -> Annotator:
    gold = subject.gold or [moves(0)] * len(subject.papers)
    count = len(gold)
    facts = {
        **FACTS,
        "model": name,
        "slots": 2,
        "failed": {"InvalidReply": 1} if wrong >= 0 else {},
        "speed": {"papers_per_minute": 12.0, "papers": count, "memory": 640_000_000},
    }
    given = [m if i != wrong else None for i, m in enumerate(gold)]
    return annotator_of(name, given, facts, tokens=[(10, 5)] * count)


def made(subject: Subject, *models: Annotator) -> tuple[Evaluation, Elements]:
    found = comparison.of_models(subject, models)
    found.verdict = verdict(found)
    file = io.BytesIO()
    report_files.write_html(file, found, subject)
    return found, Elements(file.getvalue())


@pytest.fixture(scope="module")
def whole() -> tuple[Evaluation, Elements]:
    subject = subject_of(12)
    return made(subject, model(subject, wrong=7), model(subject, "other-model"))


Whole = tuple[Evaluation, Elements]


def test_it_is_self_contained_and_has_no_script(whole: Whole) -> None:
    _, shown = whole
    assert "script" not in shown.tags
    assert_self_contained(shown.page)


def test_it_has_every_metric_and_difference(whole: Whole) -> None:
    found, shown = whole
    for metric, meaning in found.metrics.items():
        assert shown.facts[report.name_of(metric)] == meaning
    assert "a-model minus other-model" in shown.tables
    assert "0 won, 11 tied, 1 lost" in shown.shown
    figures = "1 failed (no valid annotation); 12.0 papers a minute over 12; 640 MB"
    assert figures in shown.facts["a-model"]


def test_the_figures_of_one_move_are_named_after_it(whole: Whole) -> None:
    found, shown = whole
    assert "ROUGE-L: claim" in shown.shown
    for one in (shown.shown, report.text(found)):
        assert "kappa, all moves:" not in one
        assert "ROUGE-L (macro):" not in one
    heads = [line.split("  ")[0] for line in report.text(found).splitlines()]
    assert heads.count("kappa") == 1
    assert "kappa, all moves" in heads


def test_the_figures_of_the_gold_are_beside_those_of_the_models(whole: Whole) -> None:
    found, shown = whole
    copied = report.figure(found.gold["copied"]["overall"])
    assert f"copied {copied}" in " ".join(report.text(found).split())
    row = shown.table("All moves together")["copied"]
    assert len(row) == 1 + 4 + 1  # the name, four annotators, and the gold
    assert row["the gold itself"] == copied.replace(" (", "(", 1)


def test_descriptive_metrics_are_named(whole: Whole) -> None:
    found, shown = whole
    text = " ".join(report.text(found).split())
    expected = (
        "Less is better for: moves alike, at most; tokens: prompt; tokens: answer. "
        "Descriptive: moves stated; copied; support by chance."
    )
    assert expected in shown.shown
    assert expected in text
    assert "* marks a difference whose interval excludes 0" in text


def test_the_worst_papers_are_beside_their_abstracts(whole: Whole) -> None:
    found, shown = whole
    assert found.worst[0].id == "p7"
    assert len(found.worst) == comparison.WORST
    assert "Plan 7 hums to them ." in shown.texts[".sentence"]
    assert "(no annotation)" in shown.shown
    # Paper 11 is the last of the papers that are equally good.
    assert "Plan 11 hums to them ." not in shown.texts[".sentence"]


def test_what_the_moves_of_a_worst_paper_come_from_is_marked() -> None:
    subject = subject_of(6)
    [start] = {one.abstract.index("hums") for one in subject.papers}
    anchor = {"sentences": [2], "spans": [[start, start + 4]], "by": "model"}
    whole = model(subject, wrong=3)
    answers = [one.model_copy(update={"anchors": {"method": anchor}}) for one in whole.answers]
    _, shown = made(subject, replace(whole, answers=answers))
    assert shown.sources["move.method"] == ["hums"] * 5, "of the others than the failed one"
    assert shown.texts["mark"] == ["hums"] * 5
    assert shown.sources["move.claim"][0].startswith("Plan")
    assert shown.values("data-label")[:2] == ["Claim", "Method"]


def test_hostile_text_stays_text() -> None:
    subject = subject_of(3, HOSTILE)
    gold = [{**m, "claim": HOSTILE} for m in subject.gold or ()]
    hostile = replace(subject, gold=gold)
    _, shown = made(hostile, model(hostile, f"m {HOSTILE}"))
    assert {"img", "script"}.isdisjoint(shown.tags)
    assert "\u202e" not in shown.page.decode()
    assert "<img" in shown.shown


def test_labels_are_beside_the_sentences() -> None:
    subject = subject_of(6)
    given = Labelled(("Bees sting.", "It hums to them."), ("background", "method"))
    papers = [replace(one, abstract="\n\n".join(given.sentences)) for one in subject.papers]
    source = plan.from_papers("bees.csv", papers)
    labelled = replace(subject, source=source, gold=None, labelled=[given] * 6)
    found, shown = made(labelled, model(labelled))
    assert "[method] It hums to them." in shown.texts[".sentence"]
    assert found.annotators[0].metrics["label_precision"]["method"].value == 1.0
    assert source_metrics.METRICS["label_lift"] in shown.shown


def test_every_metric_is_explained_in_the_guide() -> None:
    from harness.settings import CODE_ROOT

    guide = (CODE_ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    every = {
        **move_metrics.METRICS,
        **source_metrics.METRICS,
    }
    for metric, meaning in every.items():
        shown = report.name_of(metric)
        row = f"| `{metric}` | {shown if shown != metric else ''} | {meaning} |"
        row = row.replace("|  |", "| |")
        assert row in guide


def test_it_opens_with_the_verdict_and_ends_with_digests(whole: Whole) -> None:
    found, shown = whole
    assert "other-model" in found.verdict[0]
    assert shown.page.index(found.verdict[0][:30].encode()) < shown.page.index(b"<table>")
    assert shown.page.index(b'id="facts"') > shown.page.index(b'id="worst"')


def test_the_text_without_details_is_short(whole: Whole) -> None:
    found, _ = whole
    shown = report.text(found, details=False)
    assert " ".join(shown.split()).startswith(found.verdict[0])
    assert len(shown.splitlines()) <= 20
    assert "by paper (agreement)" not in shown
