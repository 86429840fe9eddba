"""tools/fit_extraction.py: decisions fitted on an annotated table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from skills.annotate.extractive import ranking
from skills.nanda.framework import nanda
from tools import fit_extraction

NOT = nanda().not_stated


def row(number: int) -> dict[str, str]:
    """An annotated abstract; every second one states a limitation."""
    claim = f"Plan {number} calms the bees of every hive"
    cold = f"However, hive {number} was too cold for it. " if number % 2 else ""
    abstract = f"Bees sting in meadow {number}. We show that {claim}. {cold}Nobody was stung."
    moves = dict.fromkeys(nanda().names, NOT)
    moves |= {"claim": f"{claim}.", "method": f"Meadow {number}.", "scope": "Bees of every hive."}
    moves |= {"limitation": f"Hive {number} was too cold."} if cold else {}
    return {"id": str(number), "abstract": abstract, **moves}


@pytest.mark.model
def test_decisions_are_fitted_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "bees.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row(0)))
        writer.writeheader()
        writer.writerows(map(row, range(20)))
    assert fit_extraction.main([str(table), "--out", str(tmp_path)]) == 0
    found = ranking.load(tmp_path / "alone.json")
    assert {*found.least} == {*fit_extraction.DECIDED}
    assert len(found.digest) == 64
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["ROUGE-L", "anchor", "kappa"]
    by_move = {name: values for name, *values in lines[1:]}
    assert {*by_move} == {*nanda().names, "mean"}
    assert by_move["novelty"][0] == "nan", "no paper states it"


def test_help_begins_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fit_extraction.main(["--help"])
    assert "Fit what decides about the quotes" in capsys.readouterr().out


def test_of_balances_with_nearly_the_same_kappa_the_lowest_is_taken() -> None:
    kappas = np.zeros(len(fit_extraction.BALANCES))
    kappas[3:8] = 0.30, 0.325, 0.33, 0.34, 0.33
    assert fit_extraction.lowest(kappas) == fit_extraction.BALANCES[4]
