"""Disagreements on a terminal: side by side, a text chosen for each move, then settled."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from prompt_toolkit.output import DummyOutput
from reviewing import CLEARED, CTRL_C, ENTER, MOVES, Workspace, read_rows, row
from rich.console import Console
from terminal_session import terminal_session

from skills.curate.review.disagreement import dispute_at
from skills.curate.review.screen import drawn_dispute, drawn_sides

ADA, BO = "Ada's method.", "Bo's method."


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Ada and Bo have other methods and claims of papers 1 and 3, and Bo rejects paper 2."""
    made = Workspace(tmp_path)
    made.annotations(row(1), row(2), row(3))
    ada, bo = (made.desk(name, double=1.0) for name in ("ada", "bo"))
    for at in range(3):
        assert ada.next() == bo.next() == at
        ada.edit(at, "method", ADA)
        ada.anchor(at, "method", [[0, 5]])
        ada.accept(at)
        bo.edit(at, "method", BO)
        bo.edit(at, "claim", "Plans of robots break.")
        if at == 1:
            bo.reject(at, "thin")
        else:
            bo.accept(at)
    return made


def settle(workspace: Workspace, keys: str, **options: object) -> dict[str, int]:
    given = {"reviewer": "cy", "disputes": True, **options}
    return workspace.review(keys, **given)  # type: ignore[arg-type,no-any-return]


def test_a_text_is_chosen_for_each_move_that_differs(workspace: Workspace) -> None:
    summary = settle(workspace, "12aq")
    assert (summary["accepted"], summary["disputed"]) == (1, 2)
    assert read_rows(workspace.gold) == [row(1, method=BO)]
    last = workspace.decisions()[-1]
    assert (last["reviewer"], last["resolves"], last["anchors"]) == ("cy", True, {})
    shown = workspace.stderr
    assert "3 disagreements to settle" in shown
    assert "1 ada accepted, 1 edited" in shown
    assert "2 bo rejected: thin" in shown


def test_the_passage_of_the_chosen_reviewer_is_kept(workspace: Workspace) -> None:
    settle(workspace, "21aq")
    assert read_rows(workspace.gold) == [row(1, method=ADA, claim="Plans of robots break.")]
    assert workspace.decisions()[-1]["anchors"] == {"method": [[0, 5]]}


def test_nothing_is_chosen_beforehand(workspace: Workspace) -> None:
    assert settle(workspace, "1aq")["accepted"] == 0
    assert "Not accepted: no text of Method is chosen." in workspace.stderr


def test_another_text_is_written_and_checked(workspace: Workspace) -> None:
    keys = f"1e{CLEARED}{ENTER}acMethod{ENTER}e{CLEARED}Neither.{ENTER}aq"
    assert settle(workspace, keys)["accepted"] == 1
    assert "Not accepted: Method is empty" in workspace.stderr
    assert read_rows(workspace.gold) == [row(1, method="Neither.")]


def test_a_choice_is_made_again_also_of_a_move_that_both_have(workspace: Workspace) -> None:
    keys = f"12cclaim{ENTER}2c4{ENTER}e{CLEARED}Robots.{ENTER}c1{ENTER}{CTRL_C}aq"
    assert settle(workspace, keys)["accepted"] == 1
    gold = row(1, method=BO, claim="Plans of robots break.", scope="Robots.")
    assert read_rows(workspace.gold) == [gold]


def test_a_rejection_settles_it_with_a_reason(workspace: Workspace) -> None:
    summary = settle(workspace, f"r{CTRL_C}rno claim{ENTER}q")
    assert (summary["rejected"], summary["disputed"]) == (1, 2)
    assert workspace.decisions()[-1]["reason"] == "no claim"


def test_choices_outlive_the_process(workspace: Workspace) -> None:
    settle(workspace, f"1e{CLEARED}Half a sen{CTRL_C}e{CLEARED}Neither.{ENTER}q")
    assert workspace.desk("cy").drafts(0) == {"claim": MOVES["claim"], "method": "Neither."}
    settle(workspace, "aq")
    assert read_rows(workspace.gold) == [row(1, method="Neither.")]
    assert workspace.desk("cy").drafts(0) == {}


def test_typing_is_stored(workspace: Workspace) -> None:
    class Watching(DummyOutput):
        def flush(self) -> None:
            seen.update(workspace.desk("cy").drafts(0).values())

    seen: set[str] = set()
    settle(workspace, f"e{CLEARED}Half{CTRL_C}q", terminal=Watching())
    assert "Half" in seen
    assert workspace.desk("cy").drafts(0) == {}


def test_skip_undo_and_the_end(workspace: Workspace) -> None:
    summary = settle(workspace, f"s12ar{ENTER}uss12a12auaq")
    assert "That was the last disagreement: 2 skipped." in workspace.stderr
    assert "Undone: 2405.00003 is no longer rejected." in workspace.stderr
    assert summary["disputed"] == 0
    assert workspace.ids() == ["2", "1", "3"]


def test_an_undone_settlement_keeps_its_choices(workspace: Workspace) -> None:
    settle(workspace, f"1e{CLEARED}Neither.{ENTER}auq")
    assert workspace.ids() == []
    settle(workspace, f"cmethod{ENTER}e At all.{ENTER}aq")
    assert read_rows(workspace.gold) == [row(1, method="Neither. At all.")]


def test_undo_in_another_session_leads_to_the_disagreement(workspace: Workspace) -> None:
    """The next session has other papers to show."""
    settle(workspace, "12aq")
    workspace.annotations(row(1), row(2), row(3), row(4))
    workspace.review("uaq", reviewer="cy")
    assert read_rows(workspace.gold) == [row(1, method=BO)]


def test_an_own_decision_can_be_undone_there(workspace: Workspace) -> None:
    settle(workspace, "1uaq", reviewer="bo")
    assert "Undone: 2405.00003 is no longer accepted." in workspace.stderr
    assert [one["what"] for one in workspace.decisions()[-2:]] == ["undo", "accept"]


def test_the_end_of_a_review_offers_disagreements(workspace: Workspace) -> None:
    keys = "d12aq"
    assert workspace.review(keys, reviewer="cy")["accepted"] == 1
    assert "3 disagreements to settle" in workspace.stderr


def test_the_end_without_any_disagreement(workspace: Workspace) -> None:
    assert settle(workspace, "12aq12aq", words="")["disputed"] == 2
    settle(workspace, "12a12aq")
    assert "That was the last disagreement: none is left." in workspace.stderr
    assert settle(workspace, "", reviewer="dee")["disputed"] == 0


def test_another_reviewer_may_have_settled_it(workspace: Workspace) -> None:
    class Late(DummyOutput):
        def flush(self) -> None:
            if dispute_at(ada, 0) is not None:
                ada.resolve(0, MOVES)

    ada = workspace.desk("ada")
    assert settle(workspace, "12aq", terminal=Late())["accepted"] >= 1
    assert "there is no disagreement on paper 2405.00001" in workspace.stderr


def drawn(workspace: Workspace, columns: int) -> str:
    desk = workspace.desk("cy")
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    assert dispute.to_choose is not None
    console = Console(file=io.StringIO(), width=columns, force_terminal=True)
    console.print(drawn_dispute(desk.papers[0].paper, dispute, "3 disagreements"))
    console.print(drawn_sides(dispute.to_choose, dispute, columns))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_texts_are_side_by_side_with_their_differences_marked(workspace: Workspace) -> None:
    lines = drawn(workspace, 100).splitlines()
    [names] = [line for line in lines if "1 ada" in line and "2 bo" in line]
    texts = lines[lines.index(names) + 1]
    differs = "\x1b[1;4;33m"
    assert f"Plans of {differs}agents\x1b[0m break {differs}in many ways\x1b[0m." in texts
    assert f"Plans of {differs}robots\x1b[0m break." in texts


@pytest.mark.parametrize("columns", [40, 80])
def test_it_fits_the_terminal(workspace: Workspace, columns: int) -> None:
    desk = workspace.desk("cy")
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    console = Console(file=io.StringIO(), width=columns)
    console.print(drawn_dispute(desk.papers[0].paper, dispute, "3 disagreements"))
    for one in dispute.rows:
        console.print(drawn_sides(one, dispute, columns))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= columns


@pytest.mark.slow
def test_at_a_real_terminal_it_continues_after_a_kill(workspace: Workspace) -> None:
    """The process is killed after the first choice, in the middle of a text."""
    folder = workspace.folder
    folders = {f"HARNESS_{name}": str(folder / name.lower()) for name in ("DATA", "CONFIG")}
    line = "/curate --review agent.csv --reviewer cy --disputes"
    with terminal_session(folder, 100, {**os.environ, **folders}) as session:
        session.press(line, "\r")
        session.wait_for("Claim: 1 ada 2 bo")
        session.press("2")
        session.wait_for("Method: 1 ada 2 bo")
        session.press("e", "Nei")
        session.wait_for("method.Nei")
        session.kill()
    with terminal_session(folder, 100, {**os.environ, **folders}) as session:
        session.press(line, "\r")
        session.wait_for("a accept as chosen", "method.Nei another text")
        session.press("c", "method\r")
        session.wait_for("> another text")
        session.press("1", "a", "q")
        session.wait_for("1 accepted (1 edited)")
    assert read_rows(workspace.gold) == [row(1, claim="Plans of robots break.", method=ADA)]
