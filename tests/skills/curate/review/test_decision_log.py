"""The journal and the gold table of a review: nothing is lost or overwritten."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from reviewing import CLEARED, ENTER, HEADER, Workspace, read_rows, row, write_rows

from harness.errors import HarnessError, InputError, OutputError, UsageError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    made.annotations(row(1), row(2), row(3))
    return made


def refused(workspace: Workspace, keys: str = "q") -> HarnessError:
    with pytest.raises(HarnessError) as caught:
        workspace.review(keys)
    return caught.value


def test_a_killed_process_loses_no_decision(workspace: Workspace) -> None:
    workspace.review("aq")
    before = workspace.gold.read_bytes()
    workspace.review("aq")
    workspace.gold.write_bytes(before)
    summary = workspace.review("q")
    assert (summary["accepted"], workspace.ids()) == (2, ["1", "2"])
    assert ": 1 accepted row missing from gold.csv" in workspace.stderr


def test_a_decision_that_was_undone_does_not_come_back(workspace: Workspace) -> None:
    workspace.review("aaq")
    before = workspace.gold.read_bytes()
    workspace.review("uq")
    workspace.gold.write_bytes(before)
    assert workspace.review("q")["accepted"] == 1
    assert workspace.ids() == ["1"]
    assert "missing" not in workspace.stderr


def test_the_table_is_rebuilt_from_the_journal(workspace: Workspace) -> None:
    workspace.review(f"3{CLEARED}Better.{ENTER}aaq")
    before = workspace.gold.read_bytes()
    workspace.gold.unlink()
    workspace.review("q")
    assert workspace.gold.read_bytes() == before


def test_an_incomplete_journal_line_is_removed(workspace: Workspace) -> None:
    workspace.review("aaq")
    whole = workspace.journal.read_bytes()
    workspace.journal.write_bytes(whole[:-30])
    first = whole[: whole.index(b"\n") + 1]
    assert workspace.review("q")["to_do"] == 1  # the gold table still has the row of paper 2
    assert workspace.journal.read_bytes() == first
    workspace.gold.unlink()
    assert workspace.review("aq")["accepted"] == 2
    assert len(workspace.decisions()) == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace('"what":"accept"', '"what":"maybe"', 1), "is not a decision"),
        (lambda text: "{}\n" + text, "is not a decision"),
        (lambda text: text.replace('"novelty"', '"news"'), "has other moves than the framework"),
    ],
)
def test_a_damaged_journal_is_refused_by_line(
    workspace: Workspace, damage: Any, message: str
) -> None:
    workspace.review("aq")
    before = workspace.gold.read_bytes()
    workspace.journal.write_text(damage(workspace.journal.read_text()))
    error = refused(workspace)
    assert isinstance(error, InputError)
    assert message in error.message
    assert error.where == f"{workspace.journal}, line 1"
    assert workspace.gold.read_bytes() == before


def test_a_full_disk_ends_the_review_and_keeps_what_was_decided(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.review("aq")
    before = workspace.journal.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        error = refused(workspace, "aq")
    assert isinstance(error, OutputError)
    assert error.message == "the decision is not stored: No space left on device"
    assert workspace.journal.read_bytes() == before
    assert workspace.review("aq")["accepted"] == 2


def test_a_table_that_was_not_written_is_updated_later(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        assert "not written" in refused(workspace, "aq").message
    assert not workspace.gold.exists()
    workspace.review("q")
    assert workspace.ids() == ["1"]


def test_existing_gold_is_kept_and_counts_as_decided(workspace: Workspace) -> None:
    theirs = row(2, claim="Theirs.", authors="Ada", note="by hand")
    write_rows(workspace.gold, theirs, row(9, authors="", note=""))
    before = workspace.gold.read_bytes()
    workspace.annotations(row(1, authors="Bo"), row(2, authors="Cy"), row(3, authors="Di"))
    assert workspace.review("sq")["in_gold"] == 1
    assert workspace.gold.read_bytes() == before  # unchanged until a row is added
    summary = workspace.review("aq")
    assert (summary["accepted"], summary["in_gold"], summary["to_do"]) == (1, 1, 1)
    assert summary["gold_rows"] == 3
    assert read_rows(workspace.gold) == [
        theirs,
        row(9, authors="", note=""),
        row(1, authors="Bo", note=""),
    ]


def test_rows_changed_by_hand_are_kept(workspace: Workspace) -> None:
    workspace.review("aaq")
    by_hand = row(1, claim="By hand.")
    write_rows(workspace.gold, by_hand, row(2))
    summary = workspace.review("aq")
    assert (summary["accepted"], summary["in_gold"]) == (2, 1)
    assert read_rows(workspace.gold) == [by_hand, row(2), row(3)]
    workspace.review("uuuq")
    assert read_rows(workspace.gold) == [by_hand]
    assert "2405.00001 is no longer" not in workspace.stderr


def test_rows_keep_their_order(workspace: Workspace) -> None:
    workspace.review("aaq")
    write_rows(workspace.gold, row(2), row(1))
    workspace.review("aq")
    assert workspace.ids() == ["2", "1", "3"]


def test_gold_may_repeat_a_paper(workspace: Workspace) -> None:
    named = row(1, arxiv_id="arXiv:2405.00001v2")
    write_rows(workspace.gold, named, named)
    assert workspace.review("aq")["in_gold"] == 1
    assert read_rows(workspace.gold) == [named, named, row(2)]


def test_line_breaks_in_abstracts_are_preserved(workspace: Workspace) -> None:
    odd = row(1, abstract='Plans break.\r\nWe say "why".\rThey, too.', title='"Why", we say')
    workspace.annotations(odd)
    workspace.review("aq")
    with workspace.gold.open(newline="") as file:
        assert odd["abstract"] in file.read().replace('""', '"')
    assert workspace.review("q")["in_gold"] == 0


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("novelty", "no column 'novelty'"),
        ("arxiv_id", "no column of ids"),
        ("abstract", "abstract"),
    ],
)
def test_other_tables_are_refused_as_gold(workspace: Workspace, drop: str, message: str) -> None:
    write_rows(workspace.gold, {name: value for name, value in row(7).items() if name != drop})
    before = workspace.gold.read_bytes()
    error = refused(workspace, "aq")
    assert isinstance(error, InputError)
    assert message in str(error)
    assert workspace.gold.read_bytes() == before


def test_gold_is_a_csv_file_in_an_existing_folder(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workspace, "gold", workspace.folder / "gold.jsonl")
    assert isinstance(refused(workspace), UsageError)
    monkeypatch.setattr(Workspace, "gold", workspace.folder / "nowhere" / "gold.csv")
    assert isinstance(refused(workspace, "aq"), OutputError)


def test_each_written_table_is_logged_before(workspace: Workspace) -> None:
    """The run log then knows the file as this job's, even if the process is killed."""
    from hashlib import sha256

    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    from harness.runs.run_log import Run, RunLog
    from skills.curate.review.review_command import review

    call = workspace.call()
    log = RunLog(workspace.folder / "runs.db", print)
    call.log = Run()
    log.start(door="test", line="", skill="curate", options={}, job="j", run=call.log)
    with create_pipe_input() as keys:
        keys.send_text("aq")
        review(call, workspace.agent, workspace.gold, keys, DummyOutput())
    assert log.made(workspace.gold, sha256(workspace.gold.read_bytes()).hexdigest(), "j")


def test_a_new_table_has_the_id_column_of_the_input(workspace: Workspace) -> None:
    rows = [{"Paper_ID": "p1", **row(1)}]
    del rows[0]["arxiv_id"]
    workspace.annotations(*rows)
    workspace.review("aq")
    assert list(read_rows(workspace.gold)[0]) == ["Paper_ID", *HEADER[1:]]


def test_a_journal_from_before_reviewers_had_names_is_continued(workspace: Workspace) -> None:
    workspace.review(f"3{CLEARED}Better.{ENTER}ar{ENTER}q")
    new = ("reviewer", "reviewers", "anchors", "resolves")
    lines = [
        {name: value for name, value in one.items() if name not in new}
        for one in workspace.decisions()
    ]
    workspace.journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    summary = workspace.review("q")
    assert (summary["edited"], summary["rejected"], summary["to_do"]) == (1, 1, 1)
    workspace.review("uuq")
    assert workspace.ids() == []
    assert workspace.review("aq")["edited"] == 1
