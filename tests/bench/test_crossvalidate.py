"""bench/crossvalidate.py: held-out papers, and the pooled figures of all folds."""

from __future__ import annotations

import contextlib
import csv
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench import crossvalidate
from skills.nanda.framework import nanda

MOVES = nanda().names


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten papers, each with a sentence of its own for each move; every third lacks evidence."""
    path = tmp_path_factory.mktemp("gold") / "gold.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["paper_id", "abstract", *MOVES])
        writer.writeheader()
        for number in range(10):
            words = {move: f"The {move} of ledger {number} is stated here." for move in MOVES}
            abstract = " ".join(words.values())
            if number % 3 == 0:
                words["evidence"] = nanda().not_stated
            writer.writerow({"paper_id": f"p{number}", "abstract": abstract, **words})
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_paper_is_held_out_once(table: Path, tmp_path: Path) -> None:
    held_out = []
    for fold in range(3):
        trained, held = tmp_path / "train.csv", tmp_path / "held.csv"
        crossvalidate.split(table, fold, 3, trained, held)
        ids, others = ({row["paper_id"] for row in rows(path)} for path in (held, trained))
        assert not ids & others
        assert len(ids | others) == 10
        held_out += sorted(ids)
    assert sorted(held_out) == [f"p{number}" for number in range(10)]


@pytest.mark.parametrize(("code", "ends"), [(0, False), (1, False), (2, True), (130, True)])
def test_only_failed_rows_are_tolerated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, ends: bool
) -> None:
    def ran(command: list[str], **given: Any) -> subprocess.CompletedProcess[str]:
        assert given["env"]["HARNESS_CONFIG"] == str(tmp_path / "config")
        assert given["env"]["HARNESS_REGISTRY"] == ""
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", ran)
    with pytest.raises(SystemExit) if ends else contextlib.nullcontext():
        crossvalidate.agent(tmp_path, "/annotate held.csv", some_may_fail=True)
    with pytest.raises(SystemExit) if code else contextlib.nullcontext():
        crossvalidate.agent(tmp_path, "/finetune train ft")


def test_folds_are_pooled_and_missing_papers_count(table: Path) -> None:
    annotated = {row["paper_id"]: row for row in rows(table)}
    figures = crossvalidate.pooled(table, annotated).model_dump(mode="json")
    model = figures["annotators"][0]
    assert (model["name"], figures["papers"]) == ("cross-validated", 10)
    assert figures["input"] == "gold.csv", "no path of this machine"
    assert model["metrics"]["kappa"]["evidence"]["value"] == 1
    assert model["metrics"]["rouge_l"]["overall"]["value"] == 1
    del annotated["p1"]
    fewer = crossvalidate.pooled(table, annotated).model_dump()["annotators"][0]["metrics"]
    assert fewer["recall"]["overall"]["value"] == pytest.approx(1 - 8 / 76, abs=1e-3)
