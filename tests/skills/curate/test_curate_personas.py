"""`/curate --personas`: a panel of one's own, of any size and for any framework."""

from __future__ import annotations

import json

import pytest
import yaml
from curate_desk import NAMES, Desk, a_desk, ids, panel_of

from harness.errors import InputError
from skills.nanda.framework import NANDA

__all__ = ["a_desk"]


def write_panel(desk: Desk, *names: str, ask: str = "") -> None:
    data = panel_of(names).model_dump(mode="json")
    if ask:
        data["personas"] = [{**one, "ask": ask.format(one["name"])} for one in data["personas"]]
    (desk.folder / "own.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")


def test_three_own_personas_replace_the_shipped_five(desk: Desk) -> None:
    desk.rows(1, 2)
    write_panel(desk, *NAMES[:3])
    desk.judge.scores[2, "gamma"] = 1.0
    outcome = desk.curate("--personas own.yaml")
    assert {name for _, name in desk.judge.asked} == set(NAMES[:3])
    assert desk.kept() == ids(1)
    assert desk.summary(outcome)["panel"]["splits"]["2-1"] == 1


def test_the_same_target_is_replaced_with_another_panel(desk: Desk) -> None:
    desk.rows(1)
    desk.curate()
    write_panel(desk, *NAMES[:3])
    desk.curate("--personas own.yaml")
    assert len(desk.log("annotation")[0]["votes"]) == 3


def test_a_panel_too_small_for_the_votes_is_refused(desk: Desk) -> None:
    desk.rows(1)
    write_panel(desk, *NAMES[:2])
    with pytest.raises(InputError, match="a panel of 2 cannot give 3 votes"):
        desk.curate("--personas own.yaml")
    desk.curate("--personas own.yaml --min-votes 2")
    assert desk.kept() == ids(1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "own.yaml: cannot be read"),
        ("version: [", "own.yaml:1: is not YAML"),
        ("version: '1'\nshred: x\n", "own.yaml:2: shred: unknown key"),
    ],
)
def test_other_files_are_refused(desk: Desk, text: str | None, said: str) -> None:
    desk.rows(1)
    if text is not None:
        (desk.folder / "own.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        desk.curate("--personas own.yaml")
    assert desk.judge.requests == []


def test_another_framework_needs_a_panel_for_its_moves(desk: Desk) -> None:
    desk.rows(1)
    framework = yaml.safe_load(NANDA.read_text(encoding="utf-8"))
    framework["moves"] = [one for one in framework["moves"] if one["name"] != "claim"]
    (desk.folder / "moves.yaml").write_text(json.dumps(framework), encoding="utf-8")
    with pytest.raises(InputError, match="not a move of the framework nanda"):
        desk.curate("--framework moves.yaml")
    write_panel(desk, *NAMES, ask="As {}: is the claimed method '{{method}}' there? 1 to 5.")
    desk.curate("--framework moves.yaml --personas own.yaml")
    assert "claim" not in desk.log("annotation")[0]
    votes = desk.log("annotation")[0]["votes"]
    assert [(vote["persona"], vote["score"]) for vote in votes] == [(name, 1.0) for name in NAMES]
