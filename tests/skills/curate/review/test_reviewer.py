"""Several reviewers at one queue: who gets a paper, and what their decisions amount to."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from killing import assert_killed, kill
from reviewing import MOVES, Workspace, read_rows, row

from harness.errors import UsageError
from skills.curate.review.decision_log import Taken
from skills.curate.review.gold_table import GoldTable
from skills.curate.review.leases import MINUTES, Leases
from skills.curate.review.reviewer import Desk


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    made.annotations(*map(row, range(1, 4)))
    return made


def later(desk: Desk, minutes: float) -> None:
    """Move the clock of a reviewer."""
    before = desk.leases.clock
    desk.leases = dataclasses.replace(
        desk.leases, clock=lambda: before() + timedelta(minutes=minutes)
    )


def taken(desk: Desk) -> int:
    at = desk.next()
    assert at is not None
    return at


def test_two_reviewers_get_different_papers(workspace: Workspace) -> None:
    ada, bo = workspace.desk("ada"), workspace.desk("bo")
    assert (ada.next(), bo.next()) == (0, 1)
    assert (ada.next(), bo.next()) == (0, 1)  # each gets the same paper again
    ada.accept(0)
    assert (ada.next(), bo.next()) == (2, 1)
    bo.accept(1)
    assert bo.next() is None
    ada.accept(2)
    assert workspace.ids() == ["1", "2", "3"]
    assert [one["reviewer"] for one in workspace.decisions()] == ["ada", "bo", "ada"]


def test_a_paper_of_another_reviewer_cannot_be_decided(workspace: Workspace) -> None:
    ada, bo = workspace.desk("ada"), workspace.desk("bo")
    ada.next()
    for act in (bo.accept, bo.reject, lambda at: bo.edit(at, "claim", "Another.")):
        with pytest.raises(Taken, match=r"ada has paper 2405\.00001 now"):
            act(0)
    ada.accept(0)
    with pytest.raises(Taken, match=r"paper 2405\.00001 is decided on already by ada"):
        bo.reject(0)
    assert workspace.ids() == ["1"]


def test_the_paper_of_a_reviewer_who_is_gone_comes_back(workspace: Workspace) -> None:
    ada, bo = workspace.desk("ada"), workspace.desk("bo")
    ada.next()
    later(bo, MINUTES - 1)
    assert bo.next() == 1
    later(bo, 2)
    assert bo.next() == 0
    later(ada, MINUTES + 1)
    with pytest.raises(Taken, match="bo has paper"):
        ada.accept(0)
    assert ada.next() == 1


def test_a_refusal_and_a_skip_leave_the_right_leases(workspace: Workspace) -> None:
    ada, bo = workspace.desk("ada"), workspace.desk("bo")
    assert (ada.next(), bo.next()) == (0, 1)
    with pytest.raises(Taken):
        bo.accept(0)
    assert bo.leases.holders() == {
        item.key: [name] for item, name in zip(ada.papers, ("ada", "bo"), strict=False)
    }
    ada.draft(0, "claim", "Half a")
    for at in range(3):
        ada.skip(at)
    assert ada.next() is None
    bo.skip(1)
    assert bo.next(2) == 2
    assert bo.next(0) == 0  # a skipped paper is not reserved
    assert ada.drafts(0) == {"claim": "Half a"}


@pytest.mark.parametrize("change", [Desk.edit, Desk.draft])
def test_an_edit_or_a_draft_renews_the_lease(workspace: Workspace, change: Any) -> None:
    ada, bo = workspace.desk("ada"), workspace.desk("bo")
    ada.next()
    later(ada, MINUTES - 1)
    change(ada, 0, "claim", "Another.")
    later(bo, MINUTES + 1)
    assert bo.next() == 1


def test_a_draft_does_not_revive_an_expired_lease(workspace: Workspace) -> None:
    ada, bo = workspace.desk("ada"), workspace.desk("bo")
    ada.next()
    later(ada, MINUTES + 1)
    ada.draft(0, "claim", "Another.")
    assert ada.leases.holders() == {}
    later(bo, MINUTES + 1)
    assert bo.next() == 0


def test_an_edit_is_that_of_its_reviewer(workspace: Workspace) -> None:
    ada, bo = workspace.desk("ada", double=1.0), workspace.desk("bo")
    assert (ada.next(), bo.next()) == (0, 0)
    ada.edit(0, "claim", "Ada's.")
    bo.log.refresh()
    assert bo.moves(0) == MOVES
    assert ada.moves(0)["claim"] == workspace.desk("ada").moves(0)["claim"] == "Ada's."


def test_two_of_three_reviewers_get_a_paper_for_double_review(workspace: Workspace) -> None:
    ada, bo, cy = (workspace.desk(name, double=1.0) for name in ("ada", "bo", "cy"))
    assert (ada.next(), bo.next(), cy.next()) == (0, 0, 1)
    ada.accept(0)
    assert cy.next() == 1
    assert not workspace.gold.exists()  # one decision is not enough
    bo.accept(0)
    assert workspace.ids() == ["1"]
    assert [one["reviewers"] for one in workspace.decisions()] == [2, 2]


def test_nobody_decides_twice_on_a_paper(workspace: Workspace) -> None:
    ada = workspace.desk("ada", double=1.0)
    for _ in range(3):
        ada.accept(taken(ada))
    assert ada.next() is None
    assert ada.counts()["waiting"] == 3
    with pytest.raises(Taken, match="decided on already by ada"):
        ada.accept(0)


def test_the_share_of_double_review_is_kept_and_equal_for_all(workspace: Workspace) -> None:
    workspace.annotations(*map(row, range(200)))
    ada = workspace.desk("ada", double=0.3)
    bo = workspace.desk("bo")
    needed = [[desk.reviewers(item) for item in desk.papers] for desk in (ada, bo)]
    assert needed[0] == needed[1]
    assert 40 <= needed[0].count(2) <= 80


@pytest.mark.parametrize("second", ["reject", "edit"])
def test_a_disagreement_waits_for_a_third_decision(workspace: Workspace, second: str) -> None:
    ada, bo, cy = (workspace.desk(name, double=1.0) for name in ("ada", "bo", "cy"))
    ada.next()
    bo.next()
    ada.accept(0)
    if second == "edit":
        bo.edit(0, "claim", "Bo's.")
        bo.accept(0)
    else:
        bo.reject(0, "thin")
    cy.log.refresh()
    assert (cy.disputed(), cy.counts()["disputed"]) == ([0], 1)
    assert not workspace.gold.exists()
    cy.resolve(0, {**MOVES, "claim": "Settled."})
    assert read_rows(workspace.gold) == [row(1, claim="Settled.")]
    last = workspace.decisions()[-1]
    assert (last["reviewer"], last["resolves"], last["changed"]) == ("cy", True, ["claim"])
    with pytest.raises(Taken, match="there is no disagreement"):
        ada.resolve(0, None)
    cy.undo()
    assert workspace.ids() == []
    assert cy.disputed() == [0]
    cy.resolve(0, None, reason="neither")
    assert workspace.ids() == []
    assert workspace.desk().counts()["rejected"] == 1


def test_a_settled_text_must_be_valid(workspace: Workspace) -> None:
    ada, bo = (workspace.desk(name, double=1.0) for name in ("ada", "bo"))
    ada.next()
    bo.next()
    ada.accept(0)
    bo.reject(0)
    with pytest.raises(UsageError, match="Claim is empty"):
        ada.resolve(0, {**MOVES, "claim": " "})


def test_undo_reverts_the_own_decision_also_after_a_restart(workspace: Workspace) -> None:
    ada, bo = workspace.desk("ada"), workspace.desk("bo")
    ada.accept(taken(ada))
    bo.accept(taken(bo))
    undone = workspace.desk("ada").undo()
    assert undone is not None
    assert undone[0] == 0
    assert workspace.ids() == ["2"]
    assert bo.next() == 2  # paper 0 is reserved for ada again
    assert workspace.desk("cy").undo() is None


def test_an_undone_decision_of_two_waits_again(workspace: Workspace) -> None:
    ada, bo = (workspace.desk(name, double=1.0) for name in ("ada", "bo"))
    ada.next()
    bo.next()
    ada.accept(0)
    bo.accept(0)
    assert workspace.ids() == ["1"]
    ada.undo()
    assert workspace.ids() == []
    assert ada.counts()["waiting"] == 1
    ada.accept(0)
    assert workspace.ids() == ["1"]


def test_a_selected_passage_is_kept_with_the_decision(workspace: Workspace) -> None:
    ada = workspace.desk("ada")
    at = taken(ada)
    ada.anchor(at, "method", [[0, 5]])
    ada.edit(at, "claim", "Plans break.")
    [claim, _, method, *_] = workspace.desk("ada").sheet(at).moves
    assert method.origin == "from sentence 1 (selected by a reviewer)"
    assert (claim.before, claim.is_changed) == (MOVES["claim"], True)
    ada.accept(at)
    assert workspace.decisions()[-1]["anchors"] == {"method": [[0, 5]]}
    assert read_rows(workspace.gold) == [row(1, claim="Plans break.")]


def test_a_move_that_is_not_stated_has_no_passage(workspace: Workspace) -> None:
    ada = workspace.desk("ada")
    at = taken(ada)
    ada.anchor(at, "method", [[0, 5]])
    assert ada.not_stated(at, "method")
    assert not ada.not_stated(at, "method")
    with pytest.raises(UsageError, match="Method is not stated"):
        ada.anchor(at, "method", [[0, 5]])
    ada.accept(at)
    assert workspace.decisions()[-1]["anchors"] == {}
    assert read_rows(workspace.gold) == [row(1, method="Not stated.")]


def test_a_text_that_is_being_edited_outlives_the_process(workspace: Workspace) -> None:
    def work() -> None:
        ada = workspace.desk("ada")
        ada.draft(taken(ada), "claim", "Half a sen")
        kill()

    assert_killed(work)
    ada = workspace.desk("ada")
    assert ada.drafts(taken(ada)) == {"claim": "Half a sen"}
    assert workspace.desk("bo").drafts(0) == {}
    ada.edit(0, "claim", "Half a sentence.")
    assert ada.drafts(0) == {}


def test_a_killed_reviewer_loses_nothing_and_continues(workspace: Workspace) -> None:
    def work() -> None:
        ada = workspace.desk("ada")
        ada.accept(taken(ada))
        ada.edit(taken(ada), "claim", "Another.")
        GoldTable.write = lambda *_: kill()  # type: ignore[method-assign]  # after the journal
        ada.accept(1)

    assert_killed(work)
    assert workspace.ids() == ["1"]
    ada = workspace.desk("ada")
    assert ada.next() == 2
    assert read_rows(workspace.gold)[1]["claim"] == "Another."


def test_a_line_that_was_cut_off_is_removed_by_the_other_process(workspace: Workspace) -> None:
    ada, bo = workspace.desk("ada"), workspace.desk("bo")
    ada.accept(taken(ada))
    with workspace.journal.open("ab") as file:
        file.write(b'{"what":"acc')
    bo.accept(taken(bo))
    assert [one["reviewer"] for one in workspace.decisions()] == ["ada", "bo"]
    assert workspace.ids() == ["1", "2"]


def test_a_reviewer_keeps_a_paper_that_the_other_has_decided_on_and_not_given_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bo = workspace.desk("ada", double=1.0), workspace.desk("bo", double=1.0)
    at = taken(ada)
    assert taken(bo) == at
    monkeypatch.setattr(Leases, "release", lambda *_: None)
    bo.accept(at)
    ada.accept(at)
    assert [one["reviewer"] for one in workspace.decisions()] == ["bo", "ada"]


def _review(folder: Path, reviewer: str, double: float, start: float) -> None:
    desk = Workspace(folder).desk(reviewer, double=double)
    time.sleep(max(0.0, start - time.time()))
    while (at := desk.next()) is not None:
        desk.accept(at)
    os._exit(0)


@pytest.mark.parametrize("double", [0.0, 0.5])
def test_processes_that_claim_at_once_get_no_paper_twice(tmp_path: Path, double: float) -> None:
    workspace = Workspace(tmp_path)
    workspace.annotations(*map(row, range(20)))
    start = time.time() + 2
    context = multiprocessing.get_context("fork")
    reviewers = [
        context.Process(target=_review, args=(tmp_path, name, double, start))
        for name in ("ada", "bo", "cy")
    ]
    for process in reviewers:
        process.start()
    for process in reviewers:
        process.join()
    assert [process.exitcode for process in reviewers] == [0, 0, 0]
    desk = workspace.desk()
    decided = Counter(one["paper"]["id"] for one in workspace.decisions())
    assert decided == {item.paper.id: desk.reviewers(item) for item in desk.papers}
    assert len({(one["paper"]["id"], one["reviewer"]) for one in workspace.decisions()}) == (
        decided.total()
    )
    assert sorted(one["arxiv_id"] for one in read_rows(workspace.gold)) == sorted(decided)
