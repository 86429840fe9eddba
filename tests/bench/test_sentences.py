"""bench/sentences.py: boundaries of sentences, and ours on abstracts whose sentences are given."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench import sentences
from skills.nanda.sentences import split_sentences

GIVEN = [["It “wins .”", "We use 80, 000 rows (of 2 tables )."], ["One.", "Two.", "Three."]]


def test_boundaries_do_not_depend_on_white_space() -> None:
    assert sentences.boundaries(["a b.", "c", "d e"]) == {3, 4}
    assert sentences.boundaries(["a  b.", "", " c", "de"]) == {3, 4}
    assert sentences.joined("( 80, 000 rows ) . End") == "(80,000 rows). End"


def test_figures_of_a_splitter(capsys: pytest.CaptureFixture[str]) -> None:
    splitters = {"ours": split_sentences, "blind": lambda text: [text[:3], text[3:]]}
    sentences.compare(GIVEN, splitters)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 abstracts, 3 boundaries"
    assert "F1 1.0000" in lines[1]
    assert "F1 0.0000" in lines[2]


def test_disagreements_are_shown_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["abstract"], ["We win, e.g. Bash. It is."]])
    splitters = {"ours": split_sentences, "dots": lambda text: text.split(". ")}
    sentences.disagree(table, splitters)
    shown = capsys.readouterr().out
    assert "1\tnot dots\t'We win, e.g. Bash.' | ' It is.'" in shown
    assert "ours alone, dots: 1" in shown


@pytest.mark.skipif(not sentences.LABELLED.exists(), reason="../shared is missing")
def test_boundary_f1_of_ours_on_csabstruct() -> None:
    given = sentences.read(sentences.LABELLED)
    rows, _ = sentences.counts(
        split_sentences, [" ".join(one) for one in given], list(map(sentences.boundaries, given))
    )
    assert sentences.scores(rows.sum(axis=0, keepdims=True))["F1"][0] >= 0.98
