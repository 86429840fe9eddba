"""`/curate --build`: the training set of a run, what it is made of, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from curate_desk import Desk, a_desk, gated, ids, row, write_table

from harness.errors import InputError, UsageError

__all__ = ["a_desk"]


def built(desk: Desk, name: str = "train.jsonl") -> dict[str, str]:
    """The source of each paper in a training set."""
    lines = (desk.folder / name).read_text(encoding="utf-8").splitlines()
    return {found["id"]: found["source"] for found in map(json.loads, lines)}


def manifest(desk: Desk) -> Any:
    return json.loads((desk.folder / "train.manifest.json").read_text(encoding="utf-8"))


def test_gold_takes_precedence_over_curated_over_agent(desk: Desk) -> None:
    write_table(desk.table, row(1), row(2), row(3), gated(4))
    desk.judge.scores[3, ""] = 2.0
    write_table(desk.folder / "gold.csv", row(1), row(5))
    outcome = desk.curate("--build train.jsonl --gold gold.csv")
    assert built(desk) == {
        **dict.fromkeys(ids(1, 5), "gold"),
        **dict.fromkeys(ids(2), "curated"),
        **dict.fromkeys(ids(3, 4), "agent"),
    }
    names = {path.name for path in outcome.saved}
    assert {"agent_curated.csv", "train.jsonl", "train.manifest.json"} <= names
    assert [found["role"] for found in manifest(desk)["inputs"]] == ["gold", "agent"]


def test_curated_only_leaves_out_what_the_panel_rejects(desk: Desk) -> None:
    write_table(desk.table, row(1), row(2), gated(3))
    desk.judge.scores[2, ""] = 2.0
    desk.curate("--build train.jsonl --curated-only")
    assert built(desk) == {ids(1)[0]: "curated"}


def test_build_equals_finetune_dataset_of_the_same_tables(desk: Desk) -> None:
    write_table(desk.table, row(1), row(2), gated(3))
    desk.judge.scores[2, ""] = 2.0
    write_table(desk.folder / "gold.csv", row(4))
    desk.curate("--build train.jsonl --gold gold.csv")
    desk.app.dispatch(
        "/finetune dataset --gold gold.csv --agent agent.csv --curated agent_curated.csv "
        "save to same.jsonl"
    )
    both = [(desk.folder / name).read_bytes() for name in ("train.jsonl", "same.jsonl")]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--build train.csv", "train.csv: a training set is a .jsonl file"),
        ("--build agent_curation_log.jsonl", "is written by `save to agent_curated.csv` already"),
        ("--build gold.jsonl --gold gold.jsonl", "gold.jsonl: is also an input"),
        ("--build agent.jsonl --dev agent_rejected.csv", "agent_rejected.csv: is also an input"),
    ],
)
def test_build_overwrites_no_input(desk: Desk, options: str, said: str) -> None:
    desk.rows(1)
    write_table(desk.folder / "agent_rejected.csv", row(2))
    (desk.folder / "gold.jsonl").write_text(json.dumps(row(3)) + "\n")
    before = {path: path.read_bytes() for path in desk.folder.glob("*.*")}
    with pytest.raises(UsageError, match=said):
        desk.curate(f"{options} --force")
    assert {path: path.read_bytes() for path in desk.folder.glob("*.*")} == before
    assert desk.judge.requests == []


@pytest.mark.parametrize("options", ["--gold {}", "--dev {}", "--test {}"])
@pytest.mark.parametrize("name", ["missing.csv", "bare.csv"])
def test_tables_of_the_training_set_are_read_first(desk: Desk, options: str, name: str) -> None:
    desk.rows(1)
    Path("bare.csv").write_text("arxiv_id,title\n2401.00001,Paper\n")
    with pytest.raises(InputError, match=name):
        desk.curate(f"--build train.jsonl {options.format(name)}")
    assert desk.judge.requests == []


def test_without_training_rows_the_other_files_are_saved(desk: Desk) -> None:
    desk.rows(1)
    desk.judge.scores[1, ""] = 2.0
    outcome = desk.curate("--build train.jsonl --curated-only")
    assert outcome.result.code == InputError.exit_code
    assert "no row is left to train on" in str(outcome.result.stopped)
    assert list(desk.rejected()) == ids(1)
    assert not (desk.folder / "train.jsonl").exists()
