"""tools/fit_extraction.py: weights fitted on a table and the drafts of a model."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from skills.annotate.extractive import ranking
from skills.annotate.extractive.features import FEATURES
from skills.annotate.selector.candidates import Kind
from skills.nanda.framework import nanda
from tools import fit_extraction

NOT = nanda().not_stated
DRAFT = "passage: F1 with the draft"


def row(number: int) -> dict[str, str]:
    """An annotated abstract; every second one states a limitation."""
    claim = f"Plan {number} calms the bees of every hive"
    cold = f"However, hive {number} was too cold for it. " if number % 2 else ""
    abstract = f"Bees sting in meadow {number}. We show that {claim}. {cold}Nobody was stung."
    moves = dict.fromkeys(nanda().names, NOT)
    moves |= {"claim": f"{claim}.", "method": f"Meadow {number}.", "scope": "Bees of every hive."}
    moves |= {"limitation": f"Hive {number} was too cold."} if cold else {}
    return {"id": str(number), "abstract": abstract, **moves}


def drafted(number: int, drafts: Mapping[str, str]) -> str:
    """Return the line of a record with these drafts."""
    return json.dumps({"id": str(number), "provenance": {"drafts": drafts}})


def gold_of(number: int) -> dict[str, str]:
    return {
        name: text for name, text in row(number).items() if name in nanda().names and text != NOT
    }


@pytest.fixture
def fitted(tmp_path: Path) -> Callable[[Callable[[int], Mapping[str, str]]], ranking.Weights]:
    """Fit weights on 20 papers with the drafts that a function returns."""

    def fit(drafts: Callable[[int], Mapping[str, str]]) -> ranking.Weights:
        table, lines = tmp_path / "bees.csv", tmp_path / "drafts.jsonl"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row(0)))
            writer.writeheader()
            writer.writerows(map(row, range(20)))
        lines.write_text("\n".join(drafted(n, drafts(n)) for n in range(20)), encoding="utf-8")
        assert fit_extraction.main([str(table), str(lines), "--out", str(tmp_path)]) == 0
        ranking.load.cache_clear()
        return ranking.load(tmp_path / "weights.json")

    return fit


def test_weights_are_written_for_the_ranking(
    fitted: Callable[[Callable[[int], Mapping[str, str]]], ranking.Weights],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = fitted(gold_of)
    assert {kind: len(weights) for kind, weights in found.weights.items()} == dict.fromkeys(
        get_args(Kind), len(FEATURES)
    )
    assert {*found.least} == {*fit_extraction.DECIDED}
    assert len(found.digest) == 64
    alone = ranking.load(tmp_path / "alone.json")
    assert alone.weights == fit_extraction.OF_SELECTOR
    assert {*alone.least} == {*fit_extraction.DECIDED}
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["selector", "and", "drafts", "ROUGE-L", "anchor", "kappa"]
    assert lines[10][:2] == ["selector", "alone"]
    by_move = {name: values for name, *values in lines[1:10]}
    assert {*by_move} == {*nanda().names, "mean"}
    assert float(by_move["claim"][1]) == 1.0, "the anchor of every claim is right"
    assert by_move["novelty"][0] == "nan", "no paper states it"


def test_the_draft_weighs_more_if_it_is_the_gold(
    fitted: Callable[[Callable[[int], Mapping[str, str]]], ranking.Weights],
) -> None:
    place = FEATURES.index(DRAFT)
    good = fitted(gold_of).weights["statement"][place]
    poor = fitted(lambda n: dict.fromkeys(gold_of(n), "Nobody was stung.")).weights
    assert good > poor["statement"][place] + 0.1


def test_help_begins_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fit_extraction.main(["--help"])
    assert "Fit the weights of the extractive wording" in capsys.readouterr().out


def test_of_balances_with_nearly_the_same_kappa_the_lowest_is_taken() -> None:
    kappas = np.zeros(len(fit_extraction.BALANCES))
    kappas[3:8] = 0.30, 0.325, 0.33, 0.34, 0.33
    assert fit_extraction.lowest(kappas) == fit_extraction.BALANCES[4]
