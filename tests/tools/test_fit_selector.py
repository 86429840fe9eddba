"""tools/fit_selector.py: weights fitted on annotated tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from skills.annotate.selector import selector
from skills.nanda.framework import nanda
from tools import fit_selector

NOT = nanda().not_stated


def row(number: int) -> dict[str, str]:
    """An annotated abstract: its claim and limitation are its second and third sentence."""
    claim = f"We show that plan {number} calms the bees"
    limitation = f"However, hive {number} was too cold for it"
    abstract = f"Bees sting in meadow {number}. {claim}. {limitation}."
    moves = {**dict.fromkeys(nanda().names, NOT), "claim": claim, "limitation": limitation}
    return {"id": str(number), "abstract": abstract, **moves}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "bees.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row(0)))
        writer.writeheader()
        writer.writerows(map(row, range(12)))
    return path


def test_the_sentences_of_new_abstracts_are_chosen_as_in_the_table(table: Path) -> None:
    framework = nanda()
    given = fit_selector.rows_of(table, framework, None)
    rows = [fit_selector.labelled(one, framework) for one in given]
    scores = rows[0].scores["claim"]
    assert scores is not None
    assert max(scores) == scores[1]
    assert rows[0].scores["method"] is None
    fitted = fit_selector.fit(rows[:8], framework.names)
    found = fit_selector.share_right(fitted, rows[8:])
    assert (found["claim"], found["limitation"], found["method"]) == ((4, 4), (4, 4), (0, 0))
    chosen = fitted.probabilities(rows[8].described)
    assert int(np.argmax(chosen["limitation"])) == 3
    assert int(np.argmax(chosen["method"])) == 0, "not stated"


def test_the_weights_are_written_for_every_move(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.npz"
    assert fit_selector.main([str(table), "--out", str(out)]) == 0
    with np.load(out) as weights:
        assert tuple(weights["moves"]) == nanda().names
    found = selector.load(out)
    chosen = found.probabilities(
        selector.described(["Bees sting in it.", "We show that it calms."])
    )
    assert int(np.argmax(chosen["claim"])) == 2


def test_folds_measure_and_write_nothing(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "weights.npz"
    assert fit_selector.main([str(table), "--out", str(out), "--folds", "3"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["claim", "12", "of", "12", "1.00"]
    assert lines[-1] == ["all", "24", "of", "24", "1.00"]
    assert not out.exists()


def test_help_begins_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fit_selector.main(["--help"])
    assert "Fit the selector on annotated abstracts." in capsys.readouterr().out
