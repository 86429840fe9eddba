"""The page of /evaluate: all figures, the worst papers, and nothing that can break out of it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from page_corpus import HOSTILE

from skills.annotate.table import sources
from skills.evaluate import comparison
from skills.evaluate.annotators import Annotator, Answers, Pace
from skills.evaluate.inputs import Subject
from skills.evaluate.metrics import consistency, labels, metrics
from skills.evaluate.metrics.labels import Labelled
from skills.evaluate.report import page
from skills.evaluate.report import text as report
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
    source = sources.from_papers(f"bees.csv {extra}", papers)
    return Subject(source, papers, [moves(n) for n in range(count)])


def model(subject: Subject, name: str = "a-model", wrong: int = -1) -> Annotator:
    gold = subject.gold or [moves(0)] * len(subject.papers)
    count = len(gold)
    answers = Answers(
        valid=[i != wrong for i in range(count)],
        valid_freely=None,
        tokens=[(10, 5)] * count,
        failed={"InvalidReply": 1} if wrong >= 0 else {},
        pace=Pace(12.0, count, 640_000_000),
        about={"model": name, "served": "fake", "form": "json", "digests": {}, "slots": 2},
    )
    return Annotator(name, [m if i != wrong else None for i, m in enumerate(gold)], answers)


def made(subject: Subject, *models: Annotator) -> tuple[dict[str, Any], str]:
    found = comparison.of_models(subject, nanda(), models)
    return found, page.as_html(found, subject)


class Tags(HTMLParser):
    """The names of all elements."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


@pytest.fixture(scope="module")
def whole() -> tuple[dict[str, Any], str]:
    subject = subject_of(12)
    return made(subject, model(subject, wrong=7), model(subject, "other-model"))


def test_it_asks_no_network_and_runs_nothing(whole: tuple[dict[str, Any], str]) -> None:
    _, text = whole
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)=\"(?!#)", text)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_it_has_every_metric_and_difference(whole: tuple[dict[str, Any], str]) -> None:
    found, text = whole
    for metric, meaning in found["metrics"].items():
        assert report.name_of(metric) in text
        assert meaning in text
    assert "a-model less other-model" in text
    assert "0 won, 11 tied, 1 lost" in text
    assert "1 failed: InvalidReply; 12.0 papers a minute over 12; 640 MB of memory" in text


def test_a_figure_of_one_move_is_not_called_one_of_all(whole: tuple[dict[str, Any], str]) -> None:
    found, text = whole
    assert "ROUGE-L: claim" in text
    for said in (text, report.text(found)):
        assert "kappa, all moves:" not in said
        assert "ROUGE-L (macro):" not in said
    heads = [line.split("  ")[0] for line in report.text(found).splitlines()]
    assert heads.count("kappa") == 1
    assert "kappa, all moves" in heads


def test_the_gold_s_own_figures_stand_beside_the_models(
    whole: tuple[dict[str, Any], str],
) -> None:
    found, text = whole
    copied = report.figure(found["gold"]["copied"]["overall"])
    assert f"copied {copied}" in " ".join(report.text(found).split())
    [table] = [part for part in text.split("<table") if "<caption>All moves together" in part]
    [row] = [part for part in table.split("<tr") if ">copied</th>" in part]
    assert row.count("<td") == 4 + 1  # four annotators, and the gold
    value, _, interval = copied.partition(" ")
    assert value in row
    assert interval in row


def test_it_says_of_which_metrics_more_is_not_better(whole: tuple[dict[str, Any], str]) -> None:
    found, text = whole
    told = "Less is better for moves alike, tokens; moves stated, copied, support by chance are no"
    assert told in text
    assert told in " ".join(report.text(found).split())
    assert "* marks a difference whose interval excludes 0" in " ".join(report.text(found).split())


def test_the_worst_papers_stand_beside_their_abstracts(whole: tuple[dict[str, Any], str]) -> None:
    found, text = whole
    assert found["worst"][0]["id"] == "p7"
    assert len(found["worst"]) == comparison.WORST
    assert "Plan 7 hums to them" in text
    assert "(no annotation)" in text
    assert "Plan 11 hums to them" not in text  # it is the last of those that are equally good


def test_nothing_in_it_is_markup() -> None:
    subject = subject_of(3, HOSTILE)
    gold = [{**m, "claim": HOSTILE} for m in subject.gold or ()]
    hostile = replace(subject, gold=gold)
    _, text = made(hostile, model(hostile, f"m {HOSTILE}"))
    parser = Tags()
    parser.feed(text)  # an attribute may hold a "<", which is no markup there
    assert parser.found.isdisjoint({"img", "script"})
    assert "\u202e" not in text
    assert "&lt;img" in text


def test_labels_stand_beside_the_sentences() -> None:
    subject = subject_of(6)
    given = Labelled(("Bees sting.", "It hums to them."), ("background", "method"))
    papers = [replace(one, abstract="\n\n".join(given.sentences)) for one in subject.papers]
    labelled = replace(subject, papers=papers, gold=None, labelled=[given] * 6)
    found, text = made(labelled, model(labelled))
    assert "[method] It hums to them." in text
    assert found["annotators"][0]["metrics"]["label_precision"]["method"]["value"] == 1.0
    assert labels.METRICS["label_lift"] in text


def test_every_metric_is_explained_in_the_guide() -> None:
    from harness.settings import CODE_ROOT

    guide = (CODE_ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")
    for metric, meaning in {**metrics.METRICS, **consistency.METRICS, **labels.METRICS}.items():
        shown = report.name_of(metric)
        row = f"| `{metric}` | {shown if shown != metric else ''} | {meaning} |"
        row = row.replace("|  |", "| |")
        assert row in guide
