"""`/curate --personas`: another panel, of any size and for any framework."""

from __future__ import annotations

import json

import pytest
import yaml
from curate_workspace import NAMES, Workspace, ids, panel_of

from harness.errors import InputError
from skills.nanda.framework import NANDA


def write_panel(workspace: Workspace, *names: str, ask: str = "") -> None:
    data = panel_of(names).model_dump(mode="json")
    if ask:
        data["personas"] = [{**one, "ask": ask.format(one["name"])} for one in data["personas"]]
    (workspace.folder / "own.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")


def test_three_own_personas_replace_the_shipped_five(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    write_panel(workspace, *NAMES[:3])
    workspace.judge.scores[2, "gamma"] = 1.0
    outcome = workspace.curate("--personas own.yaml")
    assert {name for _, name in workspace.judge.asked} == set(NAMES[:3])
    assert workspace.kept() == ids(1)
    assert workspace.summary(outcome)["panel"]["splits"]["2-1"] == 1


def test_the_same_target_is_replaced_with_another_panel(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.curate()
    write_panel(workspace, *NAMES[:3])
    workspace.curate("--personas own.yaml")
    assert len(workspace.log("annotation")[0]["votes"]) == 3


def test_a_panel_too_small_for_the_votes_is_refused(workspace: Workspace) -> None:
    workspace.rows(1)
    write_panel(workspace, *NAMES[:2])
    with pytest.raises(InputError, match="a panel of 2 cannot give 3 votes"):
        workspace.curate("--personas own.yaml")
    workspace.curate("--personas own.yaml --min-votes 2")
    assert workspace.kept() == ids(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "own.yaml: cannot be read"),
        ("version: [", "own.yaml:1: is not YAML"),
        ("version: '1'\nshred: x\n", "own.yaml:2: shred: unknown key"),
    ],
)
def test_other_files_are_refused(workspace: Workspace, text: str | None, message: str) -> None:
    workspace.rows(1)
    if text is not None:
        (workspace.folder / "own.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        workspace.curate("--personas own.yaml")
    assert workspace.judge.requests == []


def test_another_framework_needs_a_panel_for_its_moves(workspace: Workspace) -> None:
    workspace.rows(1)
    framework = yaml.safe_load(NANDA.read_text(encoding="utf-8"))
    framework["moves"] = [one for one in framework["moves"] if one["name"] != "claim"]
    (workspace.folder / "moves.yaml").write_text(json.dumps(framework), encoding="utf-8")
    with pytest.raises(InputError, match="not a move of the framework nanda"):
        workspace.curate("--framework moves.yaml")
    write_panel(workspace, *NAMES, ask="As {}: is the claimed method '{{method}}' there? 1 to 5.")
    workspace.curate("--framework moves.yaml --personas own.yaml")
    assert "claim" not in workspace.log("annotation")[0]
    votes = workspace.log("annotation")[0]["votes"]
    assert [(vote["persona"], vote["score"]) for vote in votes] == [(name, 1.0) for name in NAMES]
