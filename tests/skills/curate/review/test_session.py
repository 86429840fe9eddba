"""A review: its keys, what is stored, and how it continues."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from corpus_papers import annotated, corpus_of
from declared_outputs import check_output
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.output.plain_text import PlainTextOutput
from pydantic import ValidationError
from reviewing import CLEARED, CTRL_C, CTRL_D, ENTER, HEADER, MOVES, Workspace, read_rows, row

from harness.errors import UsageError
from harness.support.process import job_lock
from skills.curate.plugin import Curate
from skills.curate.review.review_command import review
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper, abstract_digest


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    made.annotations(row(1), row(2), row(3))
    return made


def test_an_accepted_annotation_is_a_row_of_gold(workspace: Workspace) -> None:
    result = workspace.result("aq")
    assert read_rows(workspace.gold) == [row(1)]
    assert workspace.gold.read_bytes().split(b"\n")[0].decode() == ",".join(HEADER)
    assert b"\r" not in workspace.gold.read_bytes()
    assert result.text == f"1 accepted, 0 rejected, 2 to do; {workspace.gold} has 1 row"
    [decision] = workspace.decisions()
    assert (decision["what"], decision["changed"], decision["moves"]) == ("accept", [], MOVES)
    assert decision["abstract_sha256"] == abstract_digest(row(1)["abstract"])


def test_upper_case_letters_are_the_same_keys(workspace: Workspace) -> None:
    assert workspace.review("AQ")["accepted"] == 1


def test_an_edit_is_prefilled_and_kept_with_the_decision(workspace: Workspace) -> None:
    summary = workspace.review(f"eme{ENTER} Twice.{ENTER}aq")
    assert (summary["accepted"], summary["edited"]) == (1, 1)
    [gold] = read_rows(workspace.gold)
    assert gold == row(1, method="Ledger rehearses each plan. Twice.")
    edit, accept = workspace.decisions()
    assert (edit["what"], accept["what"]) == ("edit", "accept")
    assert edit["changed"] == accept["changed"] == ["method"]
    assert "was: Ledger rehearses each plan." in workspace.stderr


@pytest.mark.parametrize(
    ("keys", "move"),
    [
        ("3", "method"),
        (f"e3{ENTER}", "method"),
        (f"eMethod{ENTER}", "method"),
        (f"eco{ENTER}", "comparison"),
        (f"ec{ENTER}cl{ENTER}", "claim"),
        (f"e99{ENTER}n{ENTER}", "novelty"),
    ],
)
def test_a_move_is_chosen_by_number_or_first_letters(
    workspace: Workspace, keys: str, move: str
) -> None:
    workspace.review(f"{keys}{CLEARED}Another text.{ENTER}aq")
    assert read_rows(workspace.gold) == [row(1, **{move: "Another text."})]


def test_an_ambiguous_name_is_reported(workspace: Workspace) -> None:
    """The repeated question is part of a prompt, so it is read from the terminal's output."""
    screen = workspace.folder / "screen.txt"
    with screen.open("w", encoding="utf-8") as file:
        workspace.review(f"ec{ENTER}{CTRL_C}q", terminal=PlainTextOutput(file))
    assert "'c' is Claim or Comparison. Which move?" in screen.read_text()


def test_enter_keeps_a_move_as_it_is(workspace: Workspace) -> None:
    workspace.review(f"3{ENTER}aq")
    assert [d["what"] for d in workspace.decisions()] == ["accept"]
    assert read_rows(workspace.gold) == [row(1)]


def test_edited_texts_are_validated_and_unified(workspace: Workspace) -> None:
    keys = f"3{CLEARED}{ENTER}a3{'x' * 481}{ENTER}a3{CLEARED}not stated{ENTER}aq"
    workspace.review(keys)
    assert read_rows(workspace.gold) == [row(1, method="Not stated.")]
    assert "Not accepted: Method is empty" in workspace.stderr
    assert "Not accepted: Method is 481 characters, more than 480" in workspace.stderr


@pytest.mark.parametrize("keys", [f"3{CLEARED}Lost", "e", f"em{ENTER}{CLEARED}Lost"])
def test_ctrl_c_in_an_edit_leaves_the_move(workspace: Workspace, keys: str) -> None:
    assert workspace.review(f"{keys}{CTRL_C}aq")["accepted"] == 1
    assert read_rows(workspace.gold) == [row(1)]


def test_an_edit_outlives_the_session(workspace: Workspace) -> None:
    workspace.review(f"3{CLEARED}Better.{ENTER}q")
    assert not workspace.gold.exists()
    assert workspace.review("aq")["edited"] == 1
    assert read_rows(workspace.gold) == [row(1, method="Better.")]


def test_a_rejection_keeps_its_reason(workspace: Workspace) -> None:
    summary = workspace.review(f"rtoo thin{ENTER}r{ENTER}r{CTRL_C}q")
    assert (summary["rejected"], summary["to_do"], summary["gold_rows"]) == (2, 1, 0)
    assert [d["reason"] for d in workspace.decisions()] == ["too thin", ""]


@pytest.mark.parametrize("key", ["q", CTRL_C, CTRL_D, ""])
def test_every_way_to_quit_keeps_the_decisions(workspace: Workspace, key: str) -> None:
    """Without a key, the terminal is closed."""
    assert workspace.review(f"a{key}")["accepted"] == 1
    assert workspace.ids() == ["1"]


def test_a_review_continues_with_the_first_undecided_paper(workspace: Workspace) -> None:
    workspace.review(f"ar{ENTER}q")
    summary = workspace.review("aq")
    assert workspace.shown()[0].startswith("3 of 3 · 1 accepted · 1 rejected ")
    assert (summary["accepted"], summary["rejected"], summary["to_do"]) == (2, 1, 0)
    assert workspace.ids() == ["1", "3"]


def test_undo_reverts_the_last_decision(workspace: Workspace) -> None:
    summary = workspace.review(f"ar{ENTER}uuq")
    assert (summary["accepted"], summary["rejected"], summary["to_do"]) == (0, 0, 3)
    assert [head[:1] for head in workspace.shown()] == ["1", "2", "3", "2", "1"]
    assert workspace.ids() == []
    assert "Undone: 2405.00001 is no longer accepted." in workspace.stderr


def test_undo_works_across_sessions_and_keeps_the_edit(workspace: Workspace) -> None:
    workspace.review(f"3{CLEARED}Better.{ENTER}aq")
    workspace.review("uq")
    assert workspace.ids() == []
    workspace.review("aq")
    assert read_rows(workspace.gold) == [row(1, method="Better.")]


def test_after_an_undo_the_papers_before_it_are_not_forgotten(workspace: Workspace) -> None:
    workspace.review("saaq")
    assert workspace.review("uaaq")["to_do"] == 0
    assert [head[:1] for head in workspace.shown()] == ["1", "3", "1"]


def test_there_may_be_nothing_to_undo(workspace: Workspace) -> None:
    workspace.review("uq")
    assert "There is no decision to undo." in workspace.stderr
    assert not workspace.journal.exists()


def test_after_the_last_paper_it_can_still_be_undone(workspace: Workspace) -> None:
    assert workspace.review("aaauq")["to_do"] == 1
    assert "That was the last paper: all are decided on." in workspace.stderr
    assert workspace.review("aq")["to_do"] == 0
    assert workspace.review("uq")["to_do"] == 1


def test_skipped_papers_come_again_at_the_end_and_next_time(workspace: Workspace) -> None:
    summary = workspace.review("saasaq")
    assert [head[:1] for head in workspace.shown()] == ["1", "2", "3", "1"]
    assert summary["to_do"] == 0
    assert workspace.ids() == ["2", "3", "1"]
    workspace.journal.unlink()
    workspace.gold.unlink()
    assert workspace.review("ssaq")["to_do"] == 2
    workspace.review("q")
    assert workspace.shown()[0].startswith("1 of 3 ")


def test_a_changed_annotation_is_shown_again(workspace: Workspace) -> None:
    workspace.review("aaaq")
    workspace.annotations(
        row(1), row(2, claim="Another one."), row(3, abstract="Another. Abstract.")
    )
    summary = workspace.review(f"ar{ENTER}q")
    assert all("decided before, and changed since" in head for head in workspace.shown())
    assert [head[:1] for head in workspace.shown()] == ["2", "3"]
    assert summary["accepted"] == 2
    assert read_rows(workspace.gold) == [row(1), row(2, claim="Another one.")]


def test_a_grown_table_continues_with_new_rows(workspace: Workspace) -> None:
    workspace.review("aaaq")
    workspace.annotations(row(4), row(1), row(2), row(3))
    assert workspace.review("aq")["accepted"] == 4
    assert workspace.ids() == ["1", "2", "3", "4"]


def test_a_move_without_text_must_be_edited_first(workspace: Workspace) -> None:
    workspace.annotations(row(1, scope=""))
    summary = workspace.review(f"a4Plans.{ENTER}aq")
    assert "Not accepted: Scope is empty" in workspace.stderr
    assert summary["edited"] == 1
    assert read_rows(workspace.gold) == [row(1, scope="Plans.")]


def test_other_keys_and_pasted_text_decide_nothing(workspace: Workspace) -> None:
    pasted = "\x1b[200~a rare area\x1b[201~"
    assert workspace.review(f"x{ENTER}\x1b[A{pasted} {CTRL_D}a")["to_do"] == 3
    assert (
        workspace.review(f"{pasted}{CTRL_D}a")["to_do"] == 3
    )  # in a line with a text, Ctrl-D only edits the text
    assert not workspace.journal.exists()


def test_help_lists_every_key(workspace: Workspace) -> None:
    workspace.review("?q")
    for key in "aenhrsuq":
        assert f"\n{key}  " in workspace.stderr


def test_a_move_is_not_stated_by_one_key_and_its_number(workspace: Workspace) -> None:
    assert workspace.review(f"n3{ENTER}aq")["edited"] == 1
    assert read_rows(workspace.gold) == [row(1, method="Not stated.")]


def test_a_passage_is_selected_by_numbers_or_words(workspace: Workspace) -> None:
    typed = f"h3{ENTER}1{ENTER}h1{ENTER}many ways{ENTER}h2{ENTER}9{ENTER}h5{ENTER}1{ENTER}aq"
    assert workspace.review(typed)["edited"] == 0
    shown = " ".join(workspace.stderr.split())
    assert "many ways [1:Claim]. [3:Method] [4:Scope] We present" in shown
    assert "the abstract has sentences 1 to 4" in shown
    assert "Limitation is not stated" in shown
    start = row(1)["abstract"].index("many ways")
    end = row(1)["abstract"].index(" We present")
    spans = {"claim": [[start, start + 9]], "method": [[0, end]]}
    assert workspace.decisions()[-1]["anchors"] == spans
    assert read_rows(workspace.gold) == [row(1)]


def test_reviewers_by_name_share_a_queue(workspace: Workspace) -> None:
    bo = workspace.desk("bo")
    assert bo.next() == 0
    assert workspace.review("aaq", reviewer="ada")["accepted"] == 2
    assert [head[:1] for head in workspace.shown()] == ["2", "3"]
    assert "That was the last paper: 1 with other reviewers." in workspace.stderr
    bo.accept(0)
    assert workspace.ids() == ["2", "3", "1"]
    assert [one["reviewer"] for one in workspace.decisions()] == ["ada", "ada", "bo"]


def test_a_paper_that_another_reviewer_took_is_left(workspace: Workspace) -> None:
    """The lease expires while the paper is on the screen."""

    class Late(DummyOutput):
        def flush(self) -> None:
            if not bo.papers or bo.skipped:
                return
            bo.skipped.add(9)
            db = sqlite3.connect(workspace.folder / "data" / "corpus.db")
            with db:
                db.execute("UPDATE review_leases SET expires_at = '2020'")
            db.close()
            assert bo.next() == 0

    bo = workspace.desk("bo")
    assert workspace.review("aaq", reviewer="ada", terminal=Late())["accepted"] == 1
    assert "bo has paper 2405.00001 now." in workspace.stderr
    assert workspace.ids() == ["2"]


def test_double_review_is_counted(workspace: Workspace) -> None:
    first = workspace.result("aaar" + f"{ENTER}q", reviewer="ada", double=1.0)
    assert first.text.startswith("0 accepted, 0 rejected, 0 to do, 3 wait for a second reviewer")
    second = workspace.result(f"ar{ENTER}q", reviewer="bo")
    text = "1 accepted, 0 rejected, 0 to do, 1 wait for a second reviewer, 1 disputed"
    assert second.text.startswith(text)
    assert "3 of 3 · 1 accepted · 0 rejected · 1 waiting · 1 disputed" in workspace.stderr
    assert workspace.ids() == ["1"]


def test_what_was_typed_when_the_process_was_killed_is_offered_again(workspace: Workspace) -> None:
    workspace.desk().draft(0, "method", "Ledger rehearses each plan tw")
    workspace.review(f"3ice.{ENTER}aq")
    assert read_rows(workspace.gold) == [row(1, method="Ledger rehearses each plan twice.")]


def test_typing_is_stored_until_the_edit_ends(workspace: Workspace) -> None:
    class Watching(DummyOutput):
        def flush(self) -> None:
            seen.update(workspace.desk().drafts(0).values())

    seen: set[str] = set()
    workspace.review(f"3 Twice{CTRL_C}q", terminal=Watching())
    assert "Ledger rehearses each plan. Twice" in seen
    assert workspace.desk().drafts(0) == {}


def test_the_corpus_is_reviewed(workspace: Workspace) -> None:
    given = row(1)
    paper = Paper("arxiv_id", given["arxiv_id"], given["title"], given["abstract"])
    db = corpus_of(workspace.folder / "c.db", [annotated(paper, **MOVES)])
    assert workspace.review("aq", Path("corpus"), db=db)["accepted"] == 1
    assert read_rows(workspace.gold) == [row(1)]


@pytest.mark.parametrize(("given", "share"), [("20%", 0.2), ("0.2", 0.2), ("100%", 1.0)])
def test_a_share_may_be_a_percentage(given: str, share: float) -> None:
    assert Curate.Options.model_validate({"double": given}).double == share


@pytest.mark.parametrize("given", ["120%", "x%", "-1"])
def test_other_shares_are_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        Curate.Options.model_validate({"double": given})


def test_a_review_needs_a_terminal(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="a review needs a terminal"):
        review(workspace.call(), workspace.agent, workspace.gold)
    assert not workspace.gold.exists()


def test_one_review_at_a_time_for_a_gold_table(workspace: Workspace) -> None:
    locks = workspace.call().settings.data_dir / "reviews"
    with (
        job_lock(locks, str(workspace.gold)),
        pytest.raises(UsageError, match="is locked by process"),
    ):
        workspace.review("aq")
    assert not workspace.gold.exists()


def test_another_framework(workspace: Workspace) -> None:
    own = workspace.folder / "own.yaml"
    moves = "\n".join(
        f"  - {{name: {name}, label: {label}, definition: D, write: W}}"
        for name, label in (("aim", "Aim"), ("gap", "Aim not met"))
    )
    own.write_text(
        f"name: own\nversion: '1'\ntitle: Own\ninstructions: I\ntuned_instructions: T\n"
        f"moves:\n{moves}\n"
    )
    workspace.annotations(
        {"id": "x1", "abstract": "We aim. A gap.", "aim": "We aim.", "gap": "A gap."}
    )
    workspace.review(f"eaim{ENTER}{CLEARED}None.{ENTER}aq", framework=own)
    assert read_rows(workspace.gold) == [
        {"id": "x1", "title": "", "abstract": "We aim. A gap.", "aim": "None.", "gap": "A gap."}
    ]
    assert "We aim. [1:Aim] A gap. [2:Aim-not-met]" in workspace.stderr


def test_the_summary_is_json(workspace: Workspace) -> None:
    result = workspace.result("aq")
    check_output(Curate(), "", result)
    data = json.loads(result.as_json())
    assert data["gold"] == str(workspace.gold)
    assert data["journal"] == str(workspace.journal)
    assert (data["papers"], data["accepted"], data["lost"]) == (3, 1, [])
    assert nanda().names[0] not in data


def test_after_each_round_what_was_right_is_shown_with_the_line_that_trains(
    workspace: Workspace,
) -> None:
    workspace.annotations(*map(row, range(1, 42)))
    right = "Right so far: 160 of 160 moves (100%, 98% to 100%) of 20 papers"
    line = f"Train on them: /finetune {workspace.gold} --reader --as-name my-annotator"
    workspace.review(f"{'a' * 19}q")
    assert "Right so far" not in workspace.stderr
    result = workspace.result("auaaq")
    assert workspace.stderr.count(f"{right}.\n{line}\n") == 1
    assert result.text.splitlines()[1:] == [right, line]
    assert result.summary is not None
    assert result.summary["right"]["count"] == result.summary["right"]["of"] == 160
    assert result.summary["right_by_move"]["Claim"]["of"] == 20
    check_output(Curate(), "", result)
    workspace.review("q")  # the figures are shown only once
    assert "Right so far" not in workspace.stderr
