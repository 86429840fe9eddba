"""--csabstruct: the label of a move's source sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluate_workspace import annotator_of

from harness.errors import InputError
from skills.annotate.plan import from_papers
from skills.evaluate import inputs, label_metrics
from skills.evaluate.annotators import Labelled, Subject
from skills.evaluate.measures import Measures
from skills.evaluate.move_metrics import OVERALL
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.nanda.sentences import split_sentences

NOT = nanda().not_stated
# In the first, one labelled sentence is two for `split_sentences`, and the last begins in lower
# case after an abbreviation, where no sentence ends by itself.
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


def moves(**texts: str) -> dict[str, str]:
    return {name: texts.get(name, NOT) for name in nanda().names}


ANNOTATOR = annotator_of(
    "given",
    [
        moves(claim="Nobody knew why.", method="12 hives are filmed.", evidence="Danced for ages."),
        moves(method="Towns fear the bridges."),
    ],
)


def value_of(statistic):
    return float(statistic.value(statistic.sums.sum(axis=0, keepdims=True))[0])


def test_a_move_has_the_label_of_its_source_sentence():
    assert label_metrics.anchors(ANNOTATOR, SUBJECT, Measures()) == [
        {"claim": "background", "method": "method", "evidence": "background"},
        {"method": "background"},
    ]
    assert label_metrics.confusion(ANNOTATOR, SUBJECT, Measures())["method"] == {
        **dict.fromkeys(label_metrics.LABELS, 0),
        "method": 1,
        "background": 1,
    }


def test_the_metrics_of_labels():
    found = label_metrics.statistics(ANNOTATOR, SUBJECT, Measures())
    assert value_of(found["label_precision", "method"]) == pytest.approx(1 / 2)
    assert value_of(found["label_prior", "method"]) == pytest.approx(1 / 5)
    assert value_of(found["label_precision", "evidence"]) == 0.0
    assert value_of(found["background", "claim"]) == 1.0
    # The second paper has no sentence on its method, and yet one is stated.
    assert value_of(found["false_fill", "method"]) == 1.0
    assert value_of(found["false_fill", "evidence"]) == 0.0
    assert value_of(found["abstention", "evidence"]) == 1.0
    assert value_of(found["abstention", "method"]) == 0.0
    # Right: the first's method, and the second's missing evidence.
    assert list(found["placed", OVERALL].sums[:, 0]) == [0.5, 0.5]
    assert {metric for metric, _ in found} == set(label_metrics.METRICS) - {"label_lift"}


def test_a_paper_without_an_annotation_is_anchored_nowhere():
    silent = annotator_of("silent", [None, None])
    assert label_metrics.anchors(silent, SUBJECT, Measures()) == [{}, {}]
    found = label_metrics.statistics(silent, SUBJECT, Measures())
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
        ({"labels": ["method"]}, "3 sentences have 1 labels"),
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
    assert (found.rows, len(found.papers), found.filtered) == (2, 1, {"refused": 1})


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
