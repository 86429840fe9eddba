"""/curate as a job: what is kept, what is asked, and that no vote is paid for twice."""

from __future__ import annotations

import _thread
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from curate_desk import (
    CHOSEN,
    NAMES,
    PANEL,
    Desk,
    Judge,
    a_desk,
    gated,
    ids,
    moves,
    panel_of,
    read_table,
    row,
    write_table,
)

from harness.errors import (
    GenerationFailed,
    HarnessError,
    InputError,
    Interrupted,
    InvalidReply,
    ModelBusy,
    ModelUnavailable,
    UsageError,
)
from harness.joblock import job_lock
from skills.corpus.database import locks, open_corpus
from skills.curate import panel, probes, results
from skills.curate.curator import VoteForm
from skills.curate.job import CurateJob

__all__ = ["a_desk"]

KINDS = (*probes.KINDS, *probes.SUBTLE)


def votes_for(judge: Judge, number: int, passing: int, invalid: int = 0) -> None:
    """Have so many personas pass a row, and so many cast no valid vote."""
    for place, name in enumerate(NAMES):
        score = 4.0 if place < passing else None if place < passing + invalid else 2.0
        judge.scores[number, name] = score


def fault(error: Exception) -> Callable[[], None]:
    def raised() -> None:
        raise error

    return raised


def rows_of(desk: Desk, sql: str) -> list[dict[str, Any]]:
    with open_corpus(desk.corpus) as db:
        return list(db.query(sql))


def asked_once(judge: Judge, *numbers: int) -> bool:
    """Whether each persona was asked once about each of these, and about no other."""
    return judge.asked == {(number, name): 1 for number in numbers for name in NAMES}


# Decisions


def test_what_three_of_five_pass_is_kept_in_the_order_of_the_input(desk: Desk) -> None:
    desk.rows(5, 0, 4, 3, 2, 1)
    for number in range(6):
        votes_for(desk.judge, number, passing=number)
    outcome = desk.curate()
    assert outcome.result.code == 0
    assert desk.kept() == ids(5, 4, 3)
    assert list(desk.rejected()) == ids(0, 2, 1)
    summary = desk.summary(outcome)
    assert (summary["kept"], summary["rejected"], summary["gated"]) == (3, 3, 0)
    assert summary["panel"]["splits"] == {
        **{f"{n}-{5 - n}": 1 for n in range(5, -1, -1)},
        "with an invalid vote": 0,
    }


@pytest.mark.parametrize(("votes", "kept"), [(1, [1, 2, 3, 4, 5]), (5, [5])])
def test_min_votes_moves_the_bar(desk: Desk, votes: int, kept: list[int]) -> None:
    desk.rows(1, 2, 3, 4, 5)
    for number in range(1, 6):
        votes_for(desk.judge, number, passing=number)
    desk.curate(f"--min-votes {votes}")
    assert desk.kept() == ids(*kept)


@pytest.mark.parametrize("votes", [0, 6])
def test_votes_that_the_panel_cannot_give_are_refused(desk: Desk, votes: int) -> None:
    desk.rows(1)
    with pytest.raises(UsageError, match="votes"):
        desk.curate(f"--min-votes {votes}")
    assert not desk.judge.requests


def test_a_score_at_the_threshold_passes(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.judge.scores |= {(1, ""): 3.0, (2, ""): 2.999}
    desk.curate()
    assert desk.kept() == ids(1)
    assert desk.rejected()[ids(2)[0]]["alpha"] == "2.999"


def test_an_invalid_vote_is_neither_a_pass_nor_a_fail(desk: Desk) -> None:
    expected = {
        (3, 2): "kept",
        (2, 3): "undecided",
        (2, 1): "undecided",
        (0, 5): "undecided",
        (1, 1): "rejected",
        (2, 0): "rejected",
    }
    desk.rows(*range(6))
    for number, (passing, invalid) in enumerate(expected):
        votes_for(desk.judge, number, passing, invalid)
    outcome = desk.curate()
    assert outcome.result.code == 0
    summary = desk.summary(outcome)
    assert [summary[decision] for decision in ("kept", "undecided", "rejected")] == [1, 3, 2]
    assert desk.kept() == ids(0)
    assert summary["panel"]["splits"]["with an invalid vote"] == 5
    for number, ((passing, invalid), decision) in enumerate(expected.items()):
        if decision == "kept":
            continue
        found = desk.rejected()[ids(number)[0]]
        against = NAMES[passing + invalid :]
        reasons = ("invalid-votes", *against) if decision == "undecided" else against
        assert (found["decision"], found["reasons"].split()) == (decision, list(reasons))
        assert found["votes"] == f"{passing} of 5"
        assert found["mean"] == ("" if invalid == 5 else found["mean"])


def test_what_a_gate_rejects_costs_no_request(desk: Desk) -> None:
    write_table(desk.table, row(1), gated(2), row(3))
    desk.curate()
    assert asked_once(desk.judge, 1, 3)
    assert not any("777 times" in r.messages[-1].content for r in desk.judge.requests)
    found = desk.rejected()[ids(2)[0]]
    assert (found["decision"], found["reasons"], found["votes"]) == ("rejected", "number", "")
    assert found["details"] == "claim: the number 777 is not in the abstract"


def test_where_the_gates_reject_everything_nobody_is_asked(desk: Desk) -> None:
    write_table(desk.table, gated(1), gated(2))
    outcome = desk.curate()
    assert outcome.result.code == 0
    assert not desk.judge.requests
    assert desk.kept() == []
    assert list(desk.rejected()) == ids(1, 2)
    assert desk.summary(outcome)["probes"] is None


# Probes


def test_probes_are_judged_and_logged_and_never_kept(desk: Desk) -> None:
    desk.rows(1, 2, 3)
    original = Judge._recorded

    class Fooled(Judge):
        """Finds everything good."""

        def _recorded(self, request: Any) -> tuple[int, str]:
            return 1, original(self, request)[1]

    desk = desk.again(Fooled())
    outcome = desk.curate("--probes 2 --min-votes 1")
    assert desk.kept() == ids(1, 2, 3)
    assert desk.rejected() == {}
    assert [
        tuple(one[name] for name in moves(1))
        for one in read_table(desk.folder / "agent_curated.csv")
    ] == [tuple(moves(number).values()) for number in (1, 2, 3)]
    found = desk.log("probe")
    assert {one["probe"] for one in found} == set(KINDS)
    assert all(len(one["votes"]) == 5 and one["changed"] for one in found)
    assert desk.summary(outcome)["annotations"] == 3


def test_probes_show_the_panel_apart_from_the_gates(desk: Desk) -> None:
    desk.rows(1, 2, 3, 4)
    summary = desk.summary(desk.curate("--probes 2"))
    for found in (*summary["probes"]["kinds"].values(), summary["probes"]["all"]):
        assert found["gates"]["share"] == found["panel"]["share"] == 1.0
        assert found["auroc"]["value"] == 1.0
    assert summary["probes"]["all"]["together"]["of"] == 2 * len(probes.KINDS)
    for found in summary["probes"]["subtle"].values():
        assert (found["gates"]["share"], found["panel"]["share"]) == (0.0, 1.0)


def test_a_probe_that_fails_is_said(desk: Desk) -> None:
    class Broken(Judge):
        def generate(self, request: Any, *rest: Any) -> Any:
            reply = super().generate(request, *rest)
            if "(empty)" in request.messages[-1].content:
                raise InvalidReply("no answer", raw="?")
            return reply

    desk.rows(1, 2)
    desk = desk.again(Broken())
    outcome = desk.curate("--probes 1")
    assert outcome.result.code == 1
    assert desk.summary(outcome)["probes"]["failed"] == 1
    assert "1 of the probes failed (--retry-failed redoes them)" in desk.said
    [failed] = [one for one in desk.log("probe") if one["error"]]
    assert (failed["probe"], failed["decision"]) == ("move-emptied", "rejected")
    assert failed["error"] == "InvalidReply: no answer"
    again = desk.again()
    assert again.curate("--retry-failed").result.code == 0
    assert (again.judge.asked.total(), again.judge.probed) == (0, len(NAMES))


# The form


@pytest.fixture
def unmeasured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a desk whose judge's form is not known."""
    monkeypatch.setattr(panel, "shipped", lambda: PANEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_form_is_measured_once_and_kept(unmeasured: Path) -> None:
    judge = Judge()
    judge.masses = {"": 0.2, "Rating:": 0.6, "Rating: ": 0.9}
    first = Desk(unmeasured, judge, form=None)
    first.rows(1, 2)
    first.curate()
    [form] = rows_of(first, "SELECT * FROM judge_forms")
    assert (form["kind"], form["prefill"], form["mass"]) == ("logprobs", CHOSEN, 0.9)
    assert json.loads(form["measured"]) == judge.masses
    assert sum(judge.asked.values()) == 2 * len(PANEL.prefills) + 2 * len(NAMES)
    first.app.close()
    later = Desk(unmeasured, Judge(), form=None)
    later.rows(1, 2, 3)
    later.curate()
    assert asked_once(later.judge, 3)
    assert {r.prefill for r in later.judge.requests} == {CHOSEN}


def test_a_judge_without_probabilities_is_asked_for_json(unmeasured: Path) -> None:
    judge = Judge()
    judge.tells = False
    judge.scores[2, ""] = 2.0
    desk = Desk(unmeasured, judge, form=None)
    desk.rows(1, 2)
    outcome = desk.curate()
    assert desk.kept() == ids(1)
    assert desk.summary(outcome)["judge"]["form"]["kind"] == "json"
    assert any("tells no probabilities" in note for note in desk.summary(outcome)["notes"])
    assert [vote["mass"] for vote in desk.log("annotation")[0]["votes"]] == [None] * 5


def test_json_that_is_none_makes_invalid_votes(unmeasured: Path) -> None:
    judge = Judge()
    judge.says = '{"answer": 9}'
    desk = Desk(unmeasured, judge, form=VoteForm("json"))
    desk.rows(1)
    outcome = desk.curate()
    assert desk.summary(outcome)["undecided"] == 1
    assert any("votes are invalid" in note for note in desk.summary(outcome)["notes"])


def test_a_form_that_could_not_be_measured_is_not_kept(unmeasured: Path) -> None:
    desk = Desk(unmeasured, Judge(context=100), form=None)
    desk.rows(1)
    outcome = desk.curate()
    assert outcome.result.code == 1
    assert desk.rejected()[ids(1)[0]]["details"].startswith("InputError: the prompt has")
    assert rows_of(desk, "SELECT * FROM judge_forms") == []


def test_of_two_that_measure_at_once_the_first_form_holds(unmeasured: Path) -> None:
    judge = Judge()
    desk = Desk(unmeasured, judge, form=None)
    desk.rows(1)
    judge.faults[1] = lambda: desk.settle(VoteForm("logprobs", "Rating:", 0.5))
    desk.curate()
    assert [form["prefill"] for form in rows_of(desk, "SELECT * FROM judge_forms")] == ["Rating:"]
    assert judge.requests[-1].prefill == "Rating:"


# Resuming


def test_what_has_been_judged_is_not_asked_again(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.curate()
    before = desk.log("probe")
    later = desk.again()
    later.curate()
    assert later.judge.requests == []
    assert "0 to judge" in later.said
    assert later.kept() == ids(1, 2)
    assert later.log("probe") == before


def test_the_same_annotations_in_another_file_are_not_asked_again(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.curate()
    later = desk.again()
    other = write_table(desk.folder / "other.csv", row(2, title="Another"), row(1))
    later.curate(save="save to other_curated.csv", table=other)
    assert later.judge.requests == []
    assert later.kept("other_curated.csv") == ids(2, 1)


def test_a_grown_input_asks_for_the_new_rows_alone(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.curate()
    before = desk.judge.probed
    later = desk.again()
    later.rows(3, 1, 2, 4)
    later.curate()
    assert asked_once(later.judge, 3, 4)
    assert before == len(KINDS) * len(NAMES)
    assert later.judge.probed < before  # of each kind the new one that pushed one out
    assert later.kept() == ids(3, 1, 2, 4)


def test_the_same_row_twice_is_asked_once(desk: Desk) -> None:
    write_table(desk.table, row(1), row(2), row(1))
    outcome = desk.curate()
    assert asked_once(desk.judge, 1, 2)
    assert desk.kept() == ids(1, 2)
    assert desk.summary(outcome)["filtered"] == {"repeats an earlier row": 1}


def test_the_same_annotation_of_two_ids_is_asked_once_and_kept_for_both(desk: Desk) -> None:
    write_table(desk.table, row(1), row(1, arxiv_id="2402.00001"))
    desk.curate()
    assert asked_once(desk.judge, 1)
    assert desk.kept() == [*ids(1), "2402.00001"]


def test_another_judge_another_panel_and_another_annotation_are_new_work(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.rows(1)
    desk.curate()
    other = Judge()
    other.digests = {"fake": "1" * 64}
    later = desk.again(other)
    later.curate()
    assert asked_once(other, 1)
    changed = panel_of(system="You are strict. Answer with one digit.")
    monkeypatch.setattr(panel, "shipped", lambda: changed)
    strict = later.again(Judge())
    strict.curate()
    assert asked_once(strict.judge, 1)


def test_ctrl_c_saves_what_is_done_and_the_same_line_completes_it(desk: Desk) -> None:
    def interrupted() -> None:
        _thread.interrupt_main()
        threading.Event().wait(0.3)
        raise GenerationFailed("cut")

    numbers = (3, 1, 2, 5, 4, 6)
    write_table(desk.table, *map(row, numbers), gated(8))
    for number in (1, 5):
        desk.judge.scores[number, ""] = 2.0
    desk.judge.faults[2] = interrupted
    outcome = desk.curate()
    assert outcome.result.code == 130
    stopped = outcome.result.stopped
    assert isinstance(stopped, Interrupted)
    assert "annotations and probes are judged, and their votes are kept" in str(stopped.hint)
    assert desk.kept() == ids(3)
    assert list(desk.rejected()) == ids(1, 8)
    assert [one["decision"] for one in desk.log("annotation")].count("pending") == 4

    later = desk.again()
    later.judge.scores |= desk.judge.scores
    assert later.curate().result.code == 0
    assert asked_once(later.judge, 2, 5, 4, 6)
    whole = Desk(desk.folder / "whole")
    write_table(whole.table, *map(row, numbers), gated(8))
    whole.judge.scores |= desk.judge.scores
    whole.curate(save=f"save to {whole.folder / 'agent_curated.csv'}")
    for name in ("agent_curated.csv", "agent_rejected.csv"):
        assert (desk.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert undated(later.log("annotation")) == undated(whole.log("annotation"))
    assert undated(later.log("probe")) == undated(whole.log("probe"))


def undated(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**line, "where": line["where"].partition(", ")[2]} for line in lines]


def test_ctrl_c_before_anything_is_asked_asks_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce = CurateJob._announce

    def interrupted(job: CurateJob, due: int) -> None:
        _thread.interrupt_main()
        announce(job, due)

    monkeypatch.setattr(CurateJob, "_announce", interrupted)
    desk.rows(1, 2)
    assert desk.curate().result.code == 130
    assert desk.judge.requests == []


def test_ctrl_c_between_votes_and_reasons_asks_for_no_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = CurateJob.explain

    def interrupted(job: CurateJob, verdicts: Any) -> Any:
        _thread.interrupt_main()
        return explain(job, verdicts)

    monkeypatch.setattr(CurateJob, "explain", interrupted)
    desk.rows(1, 2)
    desk.judge.scores[1, ""] = 1.0
    assert desk.curate("--explain").result.code == 130
    assert desk.judge.explained == 0
    assert desk.kept() == ids(2)


def test_a_judge_that_goes_away_stops_the_job_and_says_how_to_go_on(desk: Desk) -> None:
    class Leaving(Judge):
        """Is gone once it has judged one annotation."""

        def generate(self, request: Any, *rest: Any) -> Any:
            if len(self.requests) == len(NAMES):
                raise ModelUnavailable("the server cannot be reached", hint="Start it.")
            return super().generate(request, *rest)

    desk.rows(1, 2, 3)
    desk = desk.again(Leaving())
    outcome = desk.curate()
    assert outcome.result.code == 3
    assert desk.kept() == ids(1)
    assert str(outcome.result.stopped) == (
        f"the server cannot be reached. Start it. 1 of {3 + len(KINDS)} annotations and probes are "
        "judged, and their votes are kept; the same line goes on from there."
    )
    later = desk.again()
    later.curate()
    assert asked_once(later.judge, 2, 3)
    assert later.kept() == ids(1, 2, 3)
    statuses = [run["status"] for run in rows_of(desk, "SELECT status FROM runs ORDER BY id")]
    assert statuses == ["failed", "done"]


# What fails


def test_a_failed_ballot_takes_no_other_along_and_keeps_its_reply(desk: Desk) -> None:
    desk.rows(1, 2, 3)
    desk.judge.faults[2] = fault(InvalidReply("it said nothing", raw="<half"))
    outcome = desk.curate()
    assert outcome.result.code == 1
    assert desk.kept() == ids(1, 3)
    found = desk.rejected()[ids(2)[0]]
    assert (found["decision"], found["details"]) == ("failed", "InvalidReply: it said nothing")
    [ballot] = rows_of(desk, "SELECT * FROM ballots WHERE status = 'failed'")
    assert (ballot["raw_reply"], ballot["attempts"], ballot["retryable"]) == ("<half", 1, 0)
    assert "1 failed (--retry-failed redoes them)" in desk.said
    assert "InvalidReply: it said nothing" in str(desk.log("annotation")[1]["error"])
    assert [run["status"] for run in rows_of(desk, "SELECT status FROM runs")] == ["failed"]


def test_a_fault_of_ours_is_a_failed_ballot(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.judge.faults[1] = fault(ZeroDivisionError("surprise"))
    assert desk.curate().result.code == 1
    assert desk.kept() == ids(2)
    assert desk.rejected()[ids(1)[0]]["details"] == "ZeroDivisionError: surprise"


def test_failed_ballots_are_redone_only_when_asked_for_and_then_alone(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.judge.faults[2] = fault(InvalidReply("no"))
    desk.curate()
    later = desk.again()
    assert later.curate().result.code == 1
    assert later.judge.requests == []
    later.rows(1, 2, 3)
    outcome = later.curate("--retry-failed")
    assert outcome.result.code == 0
    assert asked_once(later.judge, 2)
    assert later.kept() == ids(1, 2)
    assert desk.summary(outcome)["pending"] == 1
    assert "1 not judged yet" in later.said
    assert rows_of(desk, "SELECT * FROM ballots WHERE status = 'failed'") == []


def test_a_ballot_that_fails_again_says_how_often(desk: Desk) -> None:
    desk.rows(1)
    desk.judge.faults[1] = fault(InvalidReply("no"))
    desk.curate()
    desk.curate("--retry-failed")
    [failed] = rows_of(desk, "SELECT attempts FROM ballots WHERE status = 'failed'")
    assert failed["attempts"] == 2


def test_errors_that_can_pass_are_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[HarnessError] = [ModelBusy("full"), GenerationFailed("500")]

    def twice() -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr("harness.jobs.Job._sleep", lambda *_: None)
    desk.rows(1)
    desk.judge.faults[1] = twice
    assert desk.curate().result.code == 0
    assert desk.kept() == ids(1)


def test_an_error_that_does_not_pass_is_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.jobs.Job._sleep", lambda *_: None)
    desk.rows(1, 2)
    desk.judge.faults[1] = fault(GenerationFailed("server error 500", partial="4"))
    assert desk.curate().result.code == 1
    [failed] = rows_of(desk, "SELECT * FROM ballots WHERE status = 'failed'")
    assert (failed["error_type"], failed["raw_reply"]) == ("GenerationFailed", "4")
    assert failed["retryable"] == 1
    assert desk.kept() == ids(2)


def test_as_many_at_once_as_the_model_has_slots_and_each_in_a_slot_of_its_own(
    desk: Desk,
) -> None:
    meeting = threading.Barrier(3, timeout=10)
    judge = Judge(slots=3)
    for number in range(6):
        judge.faults[number] = lambda: meeting.wait() and None
    desk.app.close()
    desk = Desk(desk.folder, judge)
    desk.rows(*range(6))
    desk.curate()
    assert desk.kept() == ids(*range(6))
    assert {request.slot for request in judge.requests} == {0, 1, 2}


def texts_of(request: Any) -> str:
    return "\n".join(message.content for message in request.messages)


def test_one_slot_serves_all_personas_of_an_annotation(desk: Desk) -> None:
    desk.app.close()
    desk = Desk(desk.folder, Judge(slots=3))
    desk.rows(*range(6))
    desk.curate()
    slots: dict[str, set[int | None]] = {}
    for request in desk.judge.requests:
        shared = texts_of(request).partition("</annotation>")[0]
        slots.setdefault(shared, set()).add(request.slot)
    assert len(slots) == 6 + len(KINDS)
    assert all(len(found) == 1 for found in slots.values())


# Other processes and other doors


def test_another_process_on_the_same_input_is_refused(desk: Desk) -> None:
    desk.rows(1)
    name = f"the curation of {desk.table.resolve()}"
    with (
        job_lock(locks(desk.corpus), name),
        pytest.raises(UsageError, match=r"process .* is at work on"),
    ):
        desk.curate(table="agent.csv")
    assert desk.judge.requests == []


def test_limit_takes_the_first_rows_and_a_larger_one_goes_on(desk: Desk) -> None:
    desk.rows(1, 2, 3)
    desk.curate("--limit 2")
    assert desk.kept() == ids(1, 2)
    desk.curate()
    assert asked_once(desk.judge, 1, 2, 3)
    assert desk.kept() == ids(1, 2, 3)


def test_each_start_is_a_row_in_runs(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.curate()
    [run] = rows_of(desk, "SELECT * FROM runs")
    assert (run["skill"], run["status"], run["model"]) == ("curate", "done", "producer")
    assert json.loads(run["summary"])["kept"] == 2
    assert json.loads(run["settings"])["panel"] == PANEL.digest
    decided = rows_of(desk, "SELECT * FROM verdicts WHERE probe IS NULL")
    assert [(one["source_id"], one["decision"], one["votes"]) for one in decided] == [
        (ids(1)[0], "kept", 5),
        (ids(2)[0], "kept", 5),
    ]
    votes = rows_of(desk, "SELECT * FROM votes WHERE threshold IS NULL OR passed IS NULL")
    assert votes == []


def test_a_run_that_breaks_says_so_in_runs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise InputError("broken")

    monkeypatch.setattr(results.summary, "of_run", broken)
    desk.rows(1)
    with pytest.raises(InputError, match="broken"):
        desk.curate()
    [run] = rows_of(desk, "SELECT * FROM runs")
    assert (run["status"], json.loads(run["summary"])) == ("failed", {"error": "broken"})


def test_a_ballot_of_a_known_annotation_points_to_it(desk: Desk) -> None:
    desk.rows(1)
    desk.app.dispatch("/corpus add agent.csv")
    desk.curate()
    found = rows_of(desk, "SELECT annotation_id, probe FROM ballots")
    assert {one["annotation_id"] is None for one in found if one["probe"] is None} == {False}
    assert {one["annotation_id"] is None for one in found if one["probe"]} == {True}
