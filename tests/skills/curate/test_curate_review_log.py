"""The journal of a review and its gold table: nothing lost, and nobody's rows overwritten."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from reviewing import CLEARED, ENTER, HEADER, Desk, read_rows, row, write_rows

from harness.errors import HarnessError, InputError, OutputError, UsageError


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.annotations(row(1), row(2), row(3))
    return made


def refused(desk: Desk, keys: str = "q") -> HarnessError:
    with pytest.raises(HarnessError) as caught:
        desk.review(keys)
    return caught.value


def test_a_killed_process_loses_no_decision(desk: Desk) -> None:
    desk.review("aq")
    before = desk.gold.read_bytes()
    desk.review("aq")
    desk.gold.write_bytes(before)
    summary = desk.review("q")
    assert (summary["accepted"], desk.ids()) == (2, ["1", "2"])
    assert "1 accepted rows were missing from gold.csv" in desk.said


def test_a_decision_that_was_undone_does_not_come_back(desk: Desk) -> None:
    desk.review("aaq")
    before = desk.gold.read_bytes()
    desk.review("uq")
    desk.gold.write_bytes(before)
    assert desk.review("q")["accepted"] == 1
    assert desk.ids() == ["1"]
    assert "missing" not in desk.said


def test_the_table_is_rebuilt_from_the_journal(desk: Desk) -> None:
    desk.review(f"3{CLEARED}Better.{ENTER}aaq")
    before = desk.gold.read_bytes()
    desk.gold.unlink()
    desk.review("q")
    assert desk.gold.read_bytes() == before


def test_an_incomplete_journal_line_is_removed(desk: Desk) -> None:
    desk.review("aaq")
    whole = desk.journal.read_bytes()
    desk.journal.write_bytes(whole[:-30])
    first = whole[: whole.index(b"\n") + 1]
    assert desk.review("q")["to_do"] == 1  # the row is in the table, and nobody's else
    assert desk.journal.read_bytes() == first
    desk.gold.unlink()
    assert desk.review("aq")["accepted"] == 2
    assert len(desk.decisions()) == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace('"what":"accept"', '"what":"maybe"', 1), "is not a decision"),
        (lambda text: "{}\n" + text, "is not a decision"),
        (lambda text: text.replace('"novelty"', '"news"'), "has other moves than the framework"),
        (lambda text: text.replace('"what":"accept"', '"what":"undo"', 1), "was never decided"),
    ],
)
def test_a_damaged_journal_is_refused_by_line(desk: Desk, damage: Any, message: str) -> None:
    desk.review("aq")
    before = desk.gold.read_bytes()
    desk.journal.write_text(damage(desk.journal.read_text()))
    error = refused(desk)
    assert isinstance(error, InputError)
    assert message in error.message
    assert error.where == f"{desk.journal}, line 1"
    assert desk.gold.read_bytes() == before


def test_a_full_disk_ends_the_review_and_keeps_what_was_decided(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.review("aq")
    before = desk.journal.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        error = refused(desk, "aq")
    assert isinstance(error, OutputError)
    assert error.message == "the decision is not stored: No space left on device"
    assert desk.journal.read_bytes() == before
    assert desk.review("aq")["accepted"] == 2


def test_a_table_that_was_not_written_is_updated_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        assert "not written" in refused(desk, "aq").message
    assert not desk.gold.exists()
    desk.review("q")
    assert desk.ids() == ["1"]


def test_existing_gold_is_kept_and_counts_as_decided(desk: Desk) -> None:
    theirs = row(2, claim="Theirs.", authors="Ada", note="by hand")
    write_rows(desk.gold, theirs, row(9, authors="", note=""))
    before = desk.gold.read_bytes()
    desk.annotations(row(1, authors="Bo"), row(2, authors="Cy"), row(3, authors="Di"))
    assert desk.review("sq")["in_gold"] == 1
    assert desk.gold.read_bytes() == before  # no byte of it is touched before there is need
    summary = desk.review("aq")
    assert (summary["accepted"], summary["in_gold"], summary["to_do"]) == (1, 1, 1)
    assert summary["gold_rows"] == 3
    assert read_rows(desk.gold) == [
        theirs,
        row(9, authors="", note=""),
        row(1, authors="Bo", note=""),
    ]


def test_rows_changed_by_hand_are_kept(desk: Desk) -> None:
    desk.review("aaq")
    by_hand = row(1, claim="By hand.")
    write_rows(desk.gold, by_hand, row(2))
    summary = desk.review("aq")
    assert (summary["accepted"], summary["in_gold"]) == (2, 1)
    assert read_rows(desk.gold) == [by_hand, row(2), row(3)]
    desk.review("uuuq")
    assert read_rows(desk.gold) == [by_hand]
    assert "2405.00001 is no longer" not in desk.said


def test_rows_keep_their_order(desk: Desk) -> None:
    desk.review("aaq")
    write_rows(desk.gold, row(2), row(1))
    desk.review("aq")
    assert desk.ids() == ["2", "1", "3"]


def test_gold_may_repeat_a_paper(desk: Desk) -> None:
    named = row(1, arxiv_id="arXiv:2405.00001v2")
    write_rows(desk.gold, named, named)
    assert desk.review("aq")["in_gold"] == 1
    assert read_rows(desk.gold) == [named, named, row(2)]


def test_line_breaks_in_abstracts_are_preserved(desk: Desk) -> None:
    odd = row(1, abstract='Plans break.\r\nWe say "why".\rThey, too.', title='"Why", we say')
    desk.annotations(odd)
    desk.review("aq")
    with desk.gold.open(newline="") as file:
        assert odd["abstract"] in file.read().replace('""', '"')
    assert desk.review("q")["in_gold"] == 0


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("novelty", "no column 'novelty'"),
        ("arxiv_id", "no column of ids"),
        ("abstract", "abstract"),
    ],
)
def test_other_tables_are_refused_as_gold(desk: Desk, drop: str, message: str) -> None:
    write_rows(desk.gold, {name: value for name, value in row(7).items() if name != drop})
    before = desk.gold.read_bytes()
    error = refused(desk, "aq")
    assert isinstance(error, InputError)
    assert message in str(error)
    assert desk.gold.read_bytes() == before


def test_gold_is_a_csv_file_in_an_existing_folder(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Desk, "gold", desk.folder / "gold.jsonl")
    assert isinstance(refused(desk), UsageError)
    monkeypatch.setattr(Desk, "gold", desk.folder / "nowhere" / "gold.csv")
    error = refused(desk)
    assert isinstance(error, OutputError)
    assert "there is no folder" in error.message


def test_each_written_table_is_logged_before(desk: Desk) -> None:
    """So that the run log knows it as this job's own, also after the process was killed."""
    from hashlib import sha256

    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    from harness.runs.run_log import RunLog
    from skills.curate.review.command import review

    call = desk.call()
    log = RunLog(desk.folder / "runs.db", print)
    call.log = log.start(door="test", line="", skill="curate", options={}, job="j")
    with create_pipe_input() as keys:
        keys.send_text("aq")
        review(call, desk.agent, desk.gold, keys, DummyOutput())
    assert log.made(desk.gold, sha256(desk.gold.read_bytes()).hexdigest(), "j")


def test_a_new_table_has_the_id_column_of_the_input(desk: Desk) -> None:
    rows = [{"Paper_ID": "p1", **row(1)}]
    del rows[0]["arxiv_id"]
    desk.annotations(*rows)
    desk.review("aq")
    assert list(read_rows(desk.gold)[0]) == ["Paper_ID", *HEADER[1:]]
