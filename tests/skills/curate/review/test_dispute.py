"""The texts of two reviewers side by side, and the moves that settle a disagreement."""

from __future__ import annotations

from pathlib import Path

import pytest
from reviewing import MOVES, Workspace, row

from harness.errors import UsageError
from skills.curate.review.desk import Desk
from skills.curate.review.dispute import dispute_at, outline


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The place of cy, where ada and bo have other claims."""
    workspace = Workspace(tmp_path)
    workspace.annotations(row(1))
    for name, claim in (("bo", "Plans break."), ("ada", "Plans break in many ways.")):
        one = workspace.desk(name, double=1.0)
        one.edit(0, "claim", claim)
        one.accept(0)
    return workspace.desk("cy")


def test_reviewers_are_in_the_order_of_their_names(desk: Desk) -> None:
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    assert list(map(outline, dispute.decisions)) == [
        "ada accepted, 1 edited",
        "bo accepted, 1 edited",
    ]
    assert [row.move.name for row in dispute.rows if row.differs] == ["claim"]
    assert dispute.to_choose == dispute.rows[0]


def test_each_side_is_the_whole_text_with_what_the_other_lacks_marked(desk: Desk) -> None:
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    ada, bo = (dispute.rows[0].side(place) for place in (0, 1))
    assert "".join(one.text for one in ada) == "Plans break in many ways."
    assert [one.text for one in ada if one.kind == "added"] == ["in many ways"]
    assert "".join(one.text for one in bo) == "Plans break."


def test_choices_are_those_of_one_reviewer_and_end_with_the_decision(desk: Desk) -> None:
    desk.draft(0, "claim", "Plans break.")
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    assert dispute.choices == {"claim": 1}
    assert dispute.settled(dispute.choices)[0] == {**MOVES, "claim": "Plans break."}
    desk.resolve(0, *dispute.settled({"claim": "Neither."}))
    assert dispute_at(desk, 0) is None
    assert desk.drafts(0) == {}


def test_a_move_that_differs_needs_a_choice(desk: Desk) -> None:
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    with pytest.raises(UsageError, match="no text of Claim is chosen"):
        dispute.settled({})


def test_choices_do_not_become_edits_of_an_undone_decision(desk: Desk) -> None:
    desk.reviewer = "ada"
    desk.draft(0, "claim", "Neither.")
    desk.undo()
    assert desk.drafts(0) == {}
    assert desk.moves(0)["claim"] == "Plans break in many ways."
    desk.accept(0)


def test_an_unfinished_edit_does_not_become_a_choice(desk: Desk) -> None:
    desk.reviewer = "ada"
    desk.undo()
    desk.draft(0, "claim", "Half a")
    desk.reject(0)
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    assert dispute.choices == {}
