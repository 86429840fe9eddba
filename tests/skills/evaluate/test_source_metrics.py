"""Right anchors and the reliability of confidences, against values worked out by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluate_workspace import FACTS, Workspace, annotator_of
from page_elements import Elements

from harness.errors import InputError
from skills.annotate import annotator
from skills.annotate.plan import from_papers
from skills.corpus.records import record_of
from skills.evaluate import comparison, inputs, report_files, report_text, source_metrics
from skills.evaluate.annotators import Annotator, Labelled, Subject
from skills.evaluate.measures import Measures
from skills.evaluate.outputs import OVERALL
from skills.evaluate.report_text import verdict
from skills.evaluate.source_metrics import calibration_error
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences

NOT = nanda().not_stated
ABSTRACT = (
    "Old bridges creak in strong wind. A cheap sensor hears creaking iron and warns the town. "
    "Twelve bridges carried it for two winters. Fog confuses it."
)
STARTS = [ABSTRACT.index(word) for word in ("Old", "A cheap", "Twelve", "Fog")]
SPANS = list(zip(STARTS, [*(start - 1 for start in STARTS[1:]), len(ABSTRACT)], strict=True))


def moves(**texts: str) -> dict[str, str]:
    return {name: texts.get(name, NOT) for name in nanda().names}


def anchor(number: int) -> dict[str, Any]:
    return {"sentences": [number], "spans": [list(SPANS[number - 1])], "by": "model"}


GOLD = moves(
    claim="A cheap sensor warns the town.",
    evidence="Twelve bridges carried it for two winters.",
    novelty="Nothing alike whatsoever exists.",
)
GIVEN = moves(
    claim="A sensor hears creaking iron.",
    evidence="Old bridges creak in wind.",
    limitation="Fog confuses it.",
    novelty="Fog confuses it.",
)


def subject(count: int) -> Subject:
    papers = [Paper("id", str(n), "", ABSTRACT) for n in range(count)]
    return Subject(from_papers("bridges.csv", papers), nanda(), [GOLD] * count)


def value_of(statistic: Any) -> float:
    return float(statistic.value(statistic.sums.sum(axis=0, keepdims=True))[0])


def found_of(annotator: Annotator, count: int = 1) -> dict[Any, Any]:
    return source_metrics.statistics(annotator, subject(count), Measures())


def test_an_anchor_is_right_in_a_sentence_of_the_golds() -> None:
    found = found_of(annotator_of("given", [GIVEN]))
    assert value_of(found["anchor", "claim"]) == 1.0
    assert value_of(found["anchor", "evidence"]) == 0.0
    # The gold does not state the limitation, and no sentence has the words of its novelty.
    assert not found["anchor", "limitation"].counted.any()
    assert not found["anchor", "novelty"].counted.any()
    assert value_of(found["anchor", OVERALL]) == pytest.approx(1 / 2)
    assert ("ece", OVERALL) not in found, "there are no confidences"


def test_the_nearest_sentence_is_one_of_the_anchors() -> None:
    """Both claims have the second sentence; the given one has more words of the third."""
    given = {
        **GIVEN,
        "claim": "Twelve bridges carried it for two winters, and creaking iron warns the town.",
    }
    found = found_of(annotator_of("given", [given]))
    assert value_of(found["anchor", "claim"]) == 1.0
    assert value_of(found["nearest", "claim"]) == 0.0
    stored = {"claim": anchor(2)}
    found = found_of(annotator_of("given", [given], anchors=[stored]))
    assert value_of(found["nearest", "claim"]) == 1.0


def test_a_stored_anchor_is_preferred_to_the_lexical_one() -> None:
    stored = {"claim": anchor(1), "evidence": anchor(3)}
    found = found_of(annotator_of("given", [GIVEN, None], anchors=[stored, None]), 2)
    assert value_of(found["anchor", "claim"]) == 0.0
    assert value_of(found["anchor", "evidence"]) == 1.0
    assert found["anchor", "claim"].counted.tolist() == [True, False]


def test_the_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    confidence = np.array([[0.9, 0.95], [0.2, 0.25], [0.6, np.nan]])
    right = np.array([[True, False], [False, False], [True, False]])
    found = calibration_error(right, confidence, ~np.isnan(confidence))
    expected = (2 * abs(0.5 - 0.925) + 2 * abs(0 - 0.225) + abs(1 - 0.6)) / 5
    assert value_of(found) == pytest.approx(expected)
    assert found.counted.all()


def test_the_limits_of_a_bin_belong_to_the_next_and_1_to_the_last() -> None:
    confidence = np.array([[0.7, 0.79], [1.0, 0.9]])
    right = np.array([[True, False], [True, True]])
    found = calibration_error(right, confidence, np.ones((2, 2), bool))
    assert value_of(found) == pytest.approx((abs(1 - 1.49) + abs(2 - 1.9)) / 4)


def sure(claim: float, evidence: float = 0.3) -> dict[str, float]:
    return {"claim": claim, "evidence": evidence, "limitation": 0.95}


def test_a_reliability_table() -> None:
    annotator = annotator_of("given", [GIVEN] * 3, confidence=[sure(0.85), sure(0.9), {}])
    found = source_metrics.reliability(annotator, subject(3), Measures())
    assert found is not None
    assert found.model_dump() == {
        "moves": 4,
        "bins": [
            {"low": 0.3, "high": 0.4, "moves": 2, "confidence": 0.3, "right": 0.0},
            {"low": 0.8, "high": 0.9, "moves": 1, "confidence": 0.85, "right": 1.0},
            {"low": 0.9, "high": 1.0, "moves": 1, "confidence": 0.9, "right": 1.0},
        ],
        "sure": 2,
        "sure_not_in_gold": 2,
    }
    statistics = found_of(annotator, 3)
    assert value_of(statistics["sure", OVERALL]) == 1.0
    expected = (2 * 0.3 + 0.15 + 0.1) / 4
    assert value_of(statistics["ece", OVERALL]) == pytest.approx(expected)
    assert (
        source_metrics.reliability(annotator_of("given", [GIVEN] * 3), subject(3), Measures())
        is None
    )


def test_a_report_shows_the_reliability_where_there_are_confidences() -> None:
    confidence = [sure((28 + n) / 40) for n in range(8)]
    annotator = annotator_of("m", [GIVEN] * 8, FACTS, confidence=confidence)
    whole = subject(8)
    found = comparison.of_models(whole, [annotator])
    found.verdict = verdict(found)
    assert found.annotators[0].metrics["ece"]["overall"].low is not None
    file = io.BytesIO()
    report_files.write_html(file, found, whole)
    shown = Elements(file.getvalue())
    assert shown.table("Reliability of m")["0.8 to 0.9"]["Moves"] == "4"
    for details in (True, False):
        lines = " ".join(report_text.text(found, details=details).split())
        assert "m: expected calibration error" in lines
        assert "4 moves with a confidence of 0.8 or more: right anchor 1.000" in lines
        assert "8 more that the gold does not state" in lines
    without = comparison.of_models(whole, [annotator_of("m", [GIVEN] * 8, FACTS)])
    assert without.annotators[0].reliability is None
    assert "sure" not in without.annotators[0].metrics


def test_stored_annotations_bring_their_anchors_and_confidence(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read from the corpus, saved with the evaluation, and read by --against."""
    record_of = annotator.record_of
    confidence = {"claim": 0.9, "method": 0.5}

    def confident(*args: Any, **more: Any) -> dict[str, Any]:
        return {**record_of(*args, **more), "confidence": confidence}

    monkeypatch.setattr(annotator, "record_of", confident)
    space.evaluate("--models producer save to old.json")
    found = space.evaluate("--models producer --against old.json").result.data
    first, earlier = found["annotators"][:2]
    assert first["by_paper"][0]["confidence"] == confidence
    assert first["by_paper"][0]["anchors"]["method"]["sentences"]
    assert first["reliability"]["moves"] == 12
    assert earlier["by_paper"] == first["by_paper"]
    assert earlier["reliability"] == first["reliability"]
    assert first["metrics"]["anchor"]["overall"]["value"] == 1.0


def test_a_saved_confidence_that_is_no_probability_is_refused(space: Workspace) -> None:
    space.evaluate("--models producer save to old.json")
    file = Path("old.json")
    found = json.loads(file.read_text(encoding="utf-8"))
    found["annotators"][0]["by_paper"][0]["confidence"] = {"claim": 1.5}
    file.write_text(json.dumps(found), encoding="utf-8")
    assert "less than or equal to 1" in space.refused("--models producer --against old.json")


def test_a_record_has_a_confidence_only_where_there_is_one() -> None:
    one = Paper("id", "1", "", ABSTRACT)
    assert "confidence" not in record_of(one, GIVEN, nanda(), {})
    made = record_of(one, GIVEN, nanda(), {}, confidence={"claim": 0.5, "nothing": 1, "scope": 2})
    assert made["confidence"] == {"claim": 0.5}


# `split_sentences` divides the first labelled sentence of the first paper in two, and joins the
# last two, since the last sentence begins in lower case after an abbreviation.
SENTENCES = (
    ("Bees have danced for ages. Nobody knew why.", "We film 12 hives, e.g.", "in spring."),
    ("Old bridges creak.", "Towns fear them."),
)
LABELLED = (
    Labelled(SENTENCES[0], ("background", "method", "result")),
    Labelled(SENTENCES[1], ("background", "background")),
)
PAPERS = [Paper("paper_id", str(i), "", "\n\n".join(texts)) for i, texts in enumerate(SENTENCES)]
SUBJECT = Subject(from_papers("labels", PAPERS), nanda(), labelled=LABELLED)


ANNOTATOR = annotator_of(
    "given",
    [
        moves(claim="Nobody knew why.", method="12 hives are filmed.", evidence="Danced for ages."),
        moves(method="Towns fear the bridges."),
    ],
)


def test_a_move_has_the_label_of_its_source_sentence():
    assert source_metrics.anchor_labels(ANNOTATOR, SUBJECT, Measures()) == [
        {"claim": "background", "method": "method", "evidence": "background"},
        {"method": "background"},
    ]
    assert source_metrics.confusion(ANNOTATOR, SUBJECT, Measures())["method"] == {
        **dict.fromkeys(source_metrics.LABELS, 0),
        "method": 1,
        "background": 1,
    }


def test_the_metrics_of_labels():
    found = source_metrics.statistics(ANNOTATOR, SUBJECT, Measures())
    assert value_of(found["label_precision", "method"]) == pytest.approx(1 / 2)
    assert value_of(found["label_prior", "method"]) == pytest.approx(1 / 5)
    assert value_of(found["label_precision", "evidence"]) == 0.0
    assert value_of(found["background", "claim"]) == 1.0
    # The second paper has no sentence on its method, but the annotation states the method.
    assert value_of(found["false_fill", "method"]) == 1.0
    assert value_of(found["false_fill", "evidence"]) == 0.0
    assert value_of(found["abstention", "evidence"]) == 1.0
    assert value_of(found["abstention", "method"]) == 0.0
    # The method of the first paper and the missing evidence of the second paper are right.
    assert list(found["placed", OVERALL].sums[:, 0]) == [0.5, 0.5]
    of_gold = {"anchor", "nearest", "sure", "ece"}
    assert {metric for metric, _ in found} == set(source_metrics.METRICS) - {"label_lift"} - of_gold


def test_a_paper_without_an_annotation_is_anchored_nowhere():
    silent = annotator_of("silent", [None, None])
    assert source_metrics.anchor_labels(silent, SUBJECT, Measures()) == [{}, {}]
    found = source_metrics.statistics(silent, SUBJECT, Measures())
    assert np.isnan(value_of(found["label_precision", "method"]))
    assert list(found["placed", OVERALL].sums[:, 0]) == [0.0, 1.0]


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return path


def line(**other: object) -> dict[str, object]:
    return {
        "paper_id": "a",
        "sentences": list(SENTENCES[0]),
        "labels": ["background", "method", "result"],
        "confs": [1, 0.5, 0.7],  # ignored
        **other,
    }


def test_a_file_of_labels_is_read(tmp_path):
    file = write(tmp_path / "labels.jsonl", line(), line(paper_id="b"), line(paper_id="c"))
    subject = inputs.with_labels(file, nanda(), 2)
    assert [paper.id for paper in subject.papers] == ["a", "b"]
    assert list(subject.labelled) == [LABELLED[0]] * 2
    abstract = subject.papers[0].abstract
    assert split_sentences(abstract) == [
        *("Bees have danced for ages.", "Nobody knew why.", "We film 12 hives, e.g.", "in spring.")
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labels": ["method"]}, "sentences: 3, labels: 1"),
        ({"labels": ["background", "method", "nonsense"]}, "'nonsense' is not a label"),
        ({"sentences": []}, "sentences: "),
        ({"paper_id": "a"}, "has the paper_id a of line 1"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path, wrong, message):
    file = write(tmp_path / "labels.jsonl", line(), {**line(paper_id="b"), **wrong})
    found = inputs.with_labels(file, nanda(), None).source
    [error] = found.refused.errors
    assert "labels.jsonl, line 2" in str(error)
    assert message in str(error)
    assert (len(found.papers), found.filtered) == (1, {"refused": 1})


def test_a_file_without_abstracts_is_refused(tmp_path):
    file = tmp_path / "labels.jsonl"
    file.write_text("\n\n")
    with pytest.raises(InputError, match="contains no abstracts"):
        inputs.with_labels(file, nanda(), None)
    with pytest.raises(InputError, match=r"read from \.jsonl files"):
        inputs.with_labels(tmp_path / "labels.csv", nanda(), None)
    file.write_text("no json\n")
    with pytest.raises(InputError, match="line 1, column 1: is not JSON"):
        inputs.with_labels(file, nanda(), None)
