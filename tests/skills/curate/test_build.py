"""`/curate --build`: the training set of a run, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from curate_workspace import Workspace, gated, ids, row, write_table

from harness.errors import InputError, UsageError


def built(workspace: Workspace, name: str = "train.jsonl") -> dict[str, str]:
    """Return the source of each paper in a training set."""
    lines = (workspace.folder / name).read_text(encoding="utf-8").splitlines()
    return {found["id"]: found["source"] for found in map(json.loads, lines)}


def manifest(workspace: Workspace) -> Any:
    return json.loads((workspace.folder / "train.manifest.json").read_text(encoding="utf-8"))


def test_gold_takes_precedence_over_curated_over_agent(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), row(2), row(3), gated(4))
    workspace.judge.scores[3, ""] = 2.0
    write_table(workspace.folder / "gold.csv", row(1), row(5))
    outcome = workspace.curate("--build train.jsonl --gold gold.csv")
    assert built(workspace) == {
        **dict.fromkeys(ids(1, 5), "gold"),
        **dict.fromkeys(ids(2), "curated"),
        **dict.fromkeys(ids(3, 4), "agent"),
    }
    names = {path.name for path in outcome.saved}
    assert {"agent_curated.csv", "train.jsonl", "train.manifest.json"} <= names
    assert [found["role"] for found in manifest(workspace)["inputs"]] == ["gold", "agent"]


def test_curated_only_leaves_out_what_the_panel_rejects(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), row(2), gated(3))
    workspace.judge.scores[2, ""] = 2.0
    workspace.curate("--build train.jsonl --curated-only")
    assert built(workspace) == {ids(1)[0]: "curated"}


def test_build_equals_finetune_dataset_of_the_same_tables(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), row(2), gated(3))
    workspace.judge.scores[2, ""] = 2.0
    write_table(workspace.folder / "gold.csv", row(4))
    workspace.curate("--build train.jsonl --gold gold.csv")
    workspace.app.dispatch(
        "/finetune dataset --gold gold.csv --agent agent.csv --curated agent_curated.csv "
        "save to same.jsonl"
    )
    both = [(workspace.folder / name).read_bytes() for name in ("train.jsonl", "same.jsonl")]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--build train.csv", "train.csv: a training set is a .jsonl file"),
        ("--build agent_curation_log.jsonl", "is written more than once"),
        ("--build gold.jsonl --gold gold.jsonl", "gold.jsonl: is also an input"),
        ("--build agent.jsonl --dev agent_rejected.csv", "agent_rejected.csv: is also an input"),
    ],
)
def test_build_overwrites_no_input(workspace: Workspace, options: str, message: str) -> None:
    workspace.rows(1)
    write_table(workspace.folder / "agent_rejected.csv", row(2))
    (workspace.folder / "gold.jsonl").write_text(json.dumps(row(3)) + "\n")
    before = {path: path.read_bytes() for path in workspace.folder.glob("*.*")}
    with pytest.raises(UsageError, match=message):
        workspace.curate(f"{options} --force")
    assert {path: path.read_bytes() for path in workspace.folder.glob("*.*")} == before
    assert workspace.judge.requests == []


@pytest.mark.parametrize("options", ["--gold {}", "--dev {}", "--test {}"])
@pytest.mark.parametrize("name", ["missing.csv", "bare.csv"])
def test_tables_of_the_training_set_are_read_first(
    workspace: Workspace, options: str, name: str
) -> None:
    workspace.rows(1)
    Path("bare.csv").write_text("arxiv_id,title\n2401.00001,Paper\n")
    with pytest.raises(InputError, match=name):
        workspace.curate(f"--build train.jsonl {options.format(name)}")
    assert workspace.judge.requests == []


def test_without_training_rows_the_other_files_are_saved(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.judge.scores[1, ""] = 2.0
    outcome = workspace.curate("--build train.jsonl --curated-only")
    assert outcome.result.code == InputError.exit_code
    assert "no row is left to train on" in str(outcome.result.stopped)
    assert list(workspace.rejected()) == ids(1)
    assert not (workspace.folder / "train.jsonl").exists()
