"""What /curate has judged is judged for good: nothing is lost, and no vote is paid for twice."""

from __future__ import annotations

import _thread
import contextlib
import threading
from typing import Any

import pytest
from curate_desk import (
    FORM,
    NAMES,
    PANEL,
    Desk,
    Judge,
    a_desk,
    asked_once,
    fault,
    gated,
    ids,
    item,
    panel_of,
    row,
    rows_of,
    write_table,
)

from harness.errors import (
    GenerationFailed,
    HarnessError,
    Interrupted,
    InvalidReply,
    ModelBusy,
    ModelUnavailable,
    UsageError,
)
from harness.models.pool import ServedModel
from harness.runs.process_lock import job_lock
from harness.support.stop_token import StopToken
from harness.testing import fake_models
from skills.corpus.db.connection import locks, open_corpus
from skills.curate import curator
from skills.curate.curator import Vote
from skills.curate.inputs import probes
from skills.curate.job import CurateJob
from skills.curate.panel import panel
from skills.curate.store.ballots import Ballots
from skills.nanda.framework import nanda

__all__ = ["a_desk"]

KINDS = (*probes.KINDS, *probes.SUBTLE)


def test_stored_votes_are_not_requested_again(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.curate()
    before = desk.log("probe")
    later = desk.again()
    later.curate()
    assert later.judge.requests == []
    assert "0 to judge" in later.said
    assert later.kept() == ids(1, 2)
    assert later.log("probe") == before


def test_annotations_in_another_file_are_not_judged_again(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.curate()
    later = desk.again()
    other = write_table(desk.folder / "other.csv", row(2, title="Another"), row(1))
    later.curate(save="save to other_curated.csv", table=other)
    assert later.judge.requests == []
    assert later.kept("other_curated.csv") == ids(2, 1)


def test_only_new_rows_of_a_grown_input_are_judged(desk: Desk) -> None:
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


def test_the_same_row_twice_is_judged_once(desk: Desk) -> None:
    write_table(desk.table, row(1), row(2), row(1))
    outcome = desk.curate()
    assert asked_once(desk.judge, 1, 2)
    assert desk.kept() == ids(1, 2)
    assert desk.summary(outcome)["filtered"] == {"repeats an earlier row": 1}


def test_one_annotation_of_two_ids_is_judged_once(desk: Desk) -> None:
    write_table(desk.table, row(1), row(1, arxiv_id="2402.00001"))
    desk.curate()
    assert asked_once(desk.judge, 1)
    assert desk.kept() == [*ids(1), "2402.00001"]


def test_another_judge_or_panel_judges_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_ctrl_c_saves_and_the_same_command_completes(desk: Desk) -> None:
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
    assert "annotations and probes are judged, and their votes are stored" in str(stopped.hint)
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


def test_ctrl_c_before_the_first_request(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    announce = CurateJob._announce

    def interrupted(job: CurateJob, due: int) -> None:
        _thread.interrupt_main()
        announce(job, due)

    monkeypatch.setattr(CurateJob, "_announce", interrupted)
    desk.rows(1, 2)
    assert desk.curate().result.code == 130
    assert desk.judge.requests == []


def test_ctrl_c_between_votes_and_explanations(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_lost_judge_stops_the_job(desk: Desk) -> None:
    class Leaving(Judge):
        """Is gone once it has judged one annotation."""

        def generate(self, request: Any, *rest: Any) -> Any:
            if len(self.requests) == len(NAMES) and request.top_logprobs:
                raise ModelUnavailable("the server cannot be reached", hint="Start it.")
            return super().generate(request, *rest)

    desk.rows(1, 2, 3)
    desk = desk.again(Leaving())
    desk.judge.scores[1, ""] = 2.0
    outcome = desk.curate("--explain")  # which is left to the run that completes it
    assert (outcome.result.code, desk.judge.explained) == (3, 0)
    assert list(desk.rejected()) == ids(1)
    assert str(outcome.result.stopped) == (
        f"the server cannot be reached. Start it. 1 of {3 + len(KINDS)} annotations and probes are "
        "judged, and their votes are stored; the same command continues from there."
    )
    later = desk.again()
    later.curate("--explain")
    assert asked_once(later.judge, 2, 3)
    assert later.judge.explained == 1
    assert later.kept() == ids(2, 3)
    statuses = [run["status"] for run in rows_of(desk, "SELECT status FROM runs ORDER BY id")]
    assert statuses == ["failed", "done"]


FALLBACK = """\
version: 1
models:
  first:
    tasks: [judge]
    serve: [{backend: fake, model: one}]
    fallback: second
  second:
    tasks: [judge]
    serve: [{backend: fake, model: two}]
"""


def test_a_judge_lost_before_any_vote_is_replaced(desk: Desk) -> None:
    errors: list[HarnessError] = [ModelUnavailable("it is not there")]

    def gone_at_first() -> None:
        if errors:
            raise errors.pop()

    desk.app.settings.user_registry.write_text(FALLBACK, encoding="utf-8")
    desk.app.dispatch("/reload")
    desk.rows(1, 2)
    desk.judge.faults[1] = gone_at_first
    outcome = desk.curate()
    assert outcome.result.code == 0
    assert desk.kept() == ids(1, 2)
    assert desk.summary(outcome)["judge"]["model"] == "second"
    assert "first unavailable" in desk.said
    statuses = [run["status"] for run in rows_of(desk, "SELECT status FROM runs ORDER BY id")]
    assert statuses == ["failed", "done"]


class Stopping(Judge):
    """Raises an error at a request that judges, counted from 1, and at none after it."""

    def __init__(self, at: int, error: Exception) -> None:
        super().__init__()
        self.at, self.error = at, error

    def generate(self, request: Any, *rest: Any) -> Any:
        reply = super().generate(request, *rest)
        if len(self.requests) == self.at:
            raise self.error
        return reply


@pytest.mark.parametrize("error", [ModelUnavailable("gone"), Interrupted("off")])
def test_votes_of_an_interrupted_ballot_are_kept(desk: Desk, error: Exception) -> None:
    desk.rows(1, 2)
    desk = desk.again(Stopping(3, error))
    desk.judge.scores[1, "alpha"] = 2.0
    with contextlib.suppress(ModelUnavailable):  # who is gone before a ballot is ended is replaced
        assert desk.curate().result.code == 130
    assert rows_of(desk, "SELECT status, attempts FROM ballots") == [
        {"status": "begun", "attempts": 0}
    ]
    later = desk.again()
    outcome = later.curate()
    assert later.judge.asked == {
        **{(1, name): 1 for name in NAMES[2:]},
        **{(2, name): 1 for name in NAMES},
    }
    assert desk.summary(outcome)["panel"]["splits"]["4-1"] == 1
    assert [vote["persona"] for vote in later.log("annotation")[0]["votes"]] == list(NAMES)
    statuses = rows_of(later, "SELECT DISTINCT status, attempts FROM ballots")
    assert statuses == [{"status": "done", "attempts": 1}]


def test_a_retry_requests_only_missing_votes(desk: Desk) -> None:
    desk.rows(1)
    desk = desk.again(Stopping(3, InvalidReply("no")))
    desk.curate()
    later = desk.again()
    later.curate("--retry-failed")
    assert later.judge.asked == {(1, name): 1 for name in NAMES[2:]}
    assert later.kept() == ids(1)


def test_invalid_votes_of_an_interrupted_ballot_are_repeated(desk: Desk) -> None:
    desk.rows(1)
    desk = desk.again(Stopping(3, ModelUnavailable("gone")))
    desk.judge.scores[1, "beta"] = None
    with pytest.raises(ModelUnavailable):
        desk.curate()
    later = desk.again()
    later.curate()
    assert later.judge.asked == {(1, name): 1 for name in NAMES if name != "alpha"}


def test_a_repeated_attempt_requests_only_missing_votes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StopToken, "wait", lambda *_, **__: True)
    desk.rows(1)
    desk = desk.again(Stopping(4, GenerationFailed("500")))
    assert desk.curate().result.code == 0
    assert desk.judge.asked == {(1, name): 1 + (name == NAMES[3]) for name in NAMES}


def test_another_judge_is_reported(desk: Desk) -> None:
    def gone() -> None:
        raise ModelUnavailable("gone")

    desk.rows(1, 2)
    desk.judge.faults[2] = gone
    assert desk.curate().result.code == 3
    same = desk.again()
    same.curate()
    assert "another judge" not in desk.said + same.said
    other = Judge()
    other.digests = {"fake": "1" * 64}
    later = same.again(other)
    later.curate()
    [line] = [line for line in later.said.splitlines() if "another judge" in line]
    assert line.endswith(
        "agent.csv was judged by producer (fake producer) before; producer (fake producer) is "
        "another judge, whose votes are all requested anew"
    )
    again = later.again(other)
    again.curate()
    assert "another judge" not in again.said


# What fails


def test_a_failed_ballot_keeps_its_reply(desk: Desk) -> None:
    desk.rows(1, 2, 3)
    desk.judge.faults[2] = fault(InvalidReply("it said nothing", raw="<half"))
    outcome = desk.curate()
    assert outcome.result.code == 1
    assert desk.kept() == ids(1, 3)
    found = desk.rejected()[ids(2)[0]]
    assert (found["decision"], found["details"]) == ("failed", "InvalidReply: it said nothing")
    [ballot] = rows_of(desk, "SELECT * FROM ballots WHERE status = 'failed'")
    assert (ballot["raw_reply"], ballot["attempts"], ballot["retryable"]) == ("<half", 1, 0)
    assert "1 failed (--retry-failed retries them)" in desk.said
    assert "InvalidReply: it said nothing" in str(desk.log("annotation")[1]["error"])
    assert [run["status"] for run in rows_of(desk, "SELECT status FROM runs")] == ["failed"]


def test_an_internal_error_is_a_failed_ballot(desk: Desk) -> None:
    desk.rows(1, 2)
    desk.judge.faults[1] = fault(ZeroDivisionError("surprise"))
    assert desk.curate().result.code == 1
    assert desk.kept() == ids(2)
    assert desk.rejected()[ids(1)[0]]["details"] == "ZeroDivisionError: surprise"


def test_retry_failed_retries_failed_ballots_alone(desk: Desk) -> None:
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


def test_attempts_are_counted(desk: Desk) -> None:
    desk.rows(1)
    desk.judge.faults[1] = fault(InvalidReply("no"))
    desk.curate()
    desk.curate("--retry-failed")
    [failed] = rows_of(desk, "SELECT attempts FROM ballots WHERE status = 'failed'")
    assert failed["attempts"] == 2


def test_temporary_errors_are_retried(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[HarnessError] = [ModelBusy("full"), GenerationFailed("500")]

    def twice() -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr(StopToken, "wait", lambda *_, **__: True)
    desk.rows(1)
    desk.judge.faults[1] = twice
    assert desk.curate().result.code == 0
    assert desk.kept() == ids(1)


def test_a_lasting_error_is_a_failed_ballot(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StopToken, "wait", lambda *_, **__: True)
    desk.rows(1, 2)
    desk.judge.faults[1] = fault(GenerationFailed("server error 500", partial="4"))
    assert desk.curate().result.code == 1
    [failed] = rows_of(desk, "SELECT * FROM ballots WHERE status = 'failed'")
    assert (failed["error_type"], failed["raw_reply"]) == ("GenerationFailed", "4")
    assert failed["retryable"] == 1
    assert desk.kept() == ids(2)


def test_annotations_are_judged_in_parallel_slots(
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


# Other processes


def test_another_process_on_the_same_input_is_refused(desk: Desk) -> None:
    desk.rows(1)
    name = f"the curation of {desk.table.resolve()}"
    with (
        job_lock(locks(desk.corpus), name),
        pytest.raises(UsageError, match="is locked by process"),
    ):
        desk.curate(table="agent.csv")
    assert desk.judge.requests == []


def test_a_failure_does_not_replace_votes_of_another_process(desk: Desk) -> None:
    """Two tables share an annotation, and the second process fails at it."""

    def other() -> None:
        with open_corpus(desk.corpus) as db:
            fake_models(desk.judge, "judge").run("judge", lambda served: judged(db, served))
        raise InvalidReply("no")

    def judged(db: Any, served: ServedModel) -> None:
        judge = curator.Judge(PANEL, served, nanda(), FORM)
        votes = [Vote(name, 4.0, 1.0, {"4": 1.0}, 9, 0, 0.1) for name in NAMES]
        Ballots(db, judge).save(item(1), votes)

    desk.rows(1)
    desk.judge.faults[1] = other
    outcome = desk.curate()
    assert (outcome.result.code, desk.kept()) == (0, ids(1))
    assert rows_of(desk, "SELECT status FROM ballots WHERE probe IS NULL") == [{"status": "done"}]
