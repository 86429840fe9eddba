"""Interrupted runs continue: no vote is lost, and none is requested twice."""

from __future__ import annotations

import _thread
import contextlib
import itertools
import threading
from typing import Any

import pytest
from curate_workspace import (
    FORM,
    NAMES,
    PANEL,
    Judge,
    Workspace,
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
from harness.models.served import ServedModel
from harness.runs.jobs import Tally
from harness.support.process import job_lock
from harness.support.stop_token import StopToken
from harness.testing import fake_models
from skills.corpus.db.connection import locks, open_corpus
from skills.curate import curator, panel, probes
from skills.curate.ballots import Ballots
from skills.curate.curation import CurateJob
from skills.curate.curator import Vote
from skills.nanda.framework import nanda

KINDS = (*probes.KINDS, *probes.SUBTLE)


def test_stored_votes_are_not_requested_again(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.curate()
    before = workspace.log("probe")
    later = workspace.again()
    later.curate()
    assert later.judge.requests == []
    assert "0 to judge" in later.stderr
    assert later.kept() == ids(1, 2)
    assert later.log("probe") == before


def test_annotations_in_another_file_are_not_judged_again(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.curate()
    later = workspace.again()
    other = write_table(workspace.folder / "other.csv", row(2, title="Another"), row(1))
    later.curate(save="save to other_curated.csv", table=other)
    assert later.judge.requests == []
    assert later.kept("other_curated.csv") == ids(2, 1)


def test_only_new_rows_of_a_grown_input_are_judged(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.curate()
    before = workspace.judge.probed
    later = workspace.again()
    later.rows(3, 1, 2, 4)
    later.curate()
    assert asked_once(later.judge, 3, 4)
    assert before == 2 * len(NAMES), "as many probes as annotations"
    assert later.judge.probed <= 4 * len(NAMES)
    assert later.kept() == ids(3, 1, 2, 4)


def test_the_same_row_twice_is_judged_once(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), row(2), row(1))
    outcome = workspace.curate()
    assert asked_once(workspace.judge, 1, 2)
    assert workspace.kept() == ids(1, 2)
    assert workspace.summary(outcome)["filtered"] == {"repeats an earlier row": 1}


def test_one_annotation_of_two_ids_is_judged_once(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), row(1, arxiv_id="2402.00001"))
    workspace.curate()
    assert asked_once(workspace.judge, 1)
    assert workspace.kept() == [*ids(1), "2402.00001"]


def test_another_judge_or_panel_judges_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.rows(1)
    workspace.curate()
    other = Judge()
    other.digests = {"fake": "1" * 64}
    later = workspace.again(other)
    later.curate()
    assert asked_once(other, 1)
    changed = panel_of(system="You are strict. Answer with one digit.")
    monkeypatch.setattr(panel, "shipped", lambda: changed)
    strict = later.again(Judge())
    strict.curate()
    assert asked_once(strict.judge, 1)


def test_ctrl_c_saves_and_the_same_command_completes(workspace: Workspace) -> None:
    def interrupted() -> None:
        _thread.interrupt_main()
        threading.Event().wait(0.3)
        raise GenerationFailed("cut")

    numbers = (3, 1, 2, 5, 4, 6)
    write_table(workspace.table, *map(row, numbers), gated(8))
    for number in (1, 5):
        workspace.judge.scores[number, ""] = 2.0
    workspace.judge.faults[2] = interrupted
    outcome = workspace.curate()
    assert outcome.result.code == 130
    stopped = outcome.result.stopped
    assert isinstance(stopped, Interrupted)
    assert "annotations and probes are judged, and their votes are stored" in str(stopped.hint)
    assert workspace.kept() == ids(3)
    assert list(workspace.rejected()) == ids(1, 8)
    assert [one["decision"] for one in workspace.log("annotation")].count("pending") == 4

    later = workspace.again()
    later.judge.scores |= workspace.judge.scores
    assert later.curate().result.code == 0
    assert asked_once(later.judge, 2, 5, 4, 6)
    whole = Workspace(workspace.folder / "whole")
    write_table(whole.table, *map(row, numbers), gated(8))
    whole.judge.scores |= workspace.judge.scores
    whole.curate(save=f"save to {whole.folder / 'agent_curated.csv'}")
    for name in ("agent_curated.csv", "agent_rejected.csv"):
        assert (workspace.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert undated(later.log("annotation")) == undated(whole.log("annotation"))
    assert undated(later.log("probe")) == undated(whole.log("probe"))


def undated(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**line, "where": line["where"].partition(", ")[2]} for line in lines]


def test_ctrl_c_before_the_first_request(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CurateJob.run

    def interrupted(job: CurateJob) -> Tally:
        _thread.interrupt_main()
        return run(job)

    monkeypatch.setattr(CurateJob, "run", interrupted)
    workspace.rows(1, 2)
    assert workspace.curate().result.code == 130
    assert workspace.judge.requests == []


def test_ctrl_c_between_votes_and_explanations(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = CurateJob.explain

    def interrupted(job: CurateJob, verdicts: Any) -> Any:
        _thread.interrupt_main()
        return explain(job, verdicts)

    monkeypatch.setattr(CurateJob, "explain", interrupted)
    workspace.rows(1, 2)
    workspace.judge.scores[1, ""] = 1.0
    assert workspace.curate("--explain").result.code == 130
    assert workspace.judge.explained == 0
    assert workspace.kept() == ids(2)


def test_a_lost_judge_stops_the_job(workspace: Workspace) -> None:
    class Leaving(Judge):
        """A judge that is unavailable after one annotation."""

        def generate(self, request: Any, *rest: Any) -> Any:
            if len(self.requests) == len(NAMES) and request.top_logprobs:
                raise ModelUnavailable("the server cannot be reached", hint="Start it.")
            return super().generate(request, *rest)

    workspace.rows(1, 2, 3)
    workspace = workspace.again(Leaving())
    workspace.judge.scores[1, ""] = 2.0
    # The explanations are left to the run that completes the curation.
    outcome = workspace.curate("--explain")
    assert (outcome.result.code, workspace.judge.explained) == (3, 0)
    assert list(workspace.rejected()) == ids(1)
    assert str(outcome.result.stopped) == (
        f"the server cannot be reached. Start it. 1 of {3 + 3} annotations and probes are "
        "judged, and their votes are stored; the same command continues from there."
    )
    later = workspace.again()
    later.curate("--explain")
    assert asked_once(later.judge, 2, 3)
    assert later.judge.explained == 1
    assert later.kept() == ids(2, 3)
    statuses = [run["status"] for run in rows_of(workspace, "SELECT status FROM runs ORDER BY id")]
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


def test_a_judge_lost_before_any_vote_is_replaced(workspace: Workspace) -> None:
    errors: list[HarnessError] = [ModelUnavailable("it is not there")]

    def gone_at_first() -> None:
        if errors:
            raise errors.pop()

    workspace.app.settings.user_registry.write_text(FALLBACK, encoding="utf-8")
    workspace.app.dispatch("/reload")
    workspace.rows(1, 2)
    workspace.judge.faults[1] = gone_at_first
    outcome = workspace.curate()
    assert outcome.result.code == 0
    assert workspace.kept() == ids(1, 2)
    assert workspace.summary(outcome)["judge"]["model"] == "second"
    assert "first unavailable" in workspace.stderr
    statuses = [run["status"] for run in rows_of(workspace, "SELECT status FROM runs ORDER BY id")]
    assert statuses == ["failed", "done"]


class Stopping(Judge):
    """A judge that raises an error at the given request, and if it is gone, at all later ones."""

    def __init__(self, at: int, error: Exception) -> None:
        super().__init__()
        self.at, self.error = at, error
        self.numbers = itertools.count(1)  # requests come from several threads

    def generate(self, request: Any, *rest: Any) -> Any:
        reply = super().generate(request, *rest)
        number, is_gone = next(self.numbers), isinstance(self.error, ModelUnavailable)
        if number == self.at or (is_gone and number > self.at):
            raise self.error
        return reply


@pytest.mark.parametrize("error", [ModelUnavailable("gone"), Interrupted("off")])
def test_votes_of_an_interrupted_ballot_are_kept(workspace: Workspace, error: Exception) -> None:
    workspace.rows(1, 2)
    workspace = workspace.again(Stopping(3, error))
    workspace.judge.scores[1, "alpha"] = 2.0
    # A judge that is gone before a ballot has ended is replaced; here, there is no other judge.
    with contextlib.suppress(ModelUnavailable):
        assert workspace.curate().result.code == 130
    assert rows_of(workspace, "SELECT status, attempts FROM ballots") == [
        {"status": "begun", "attempts": 0}
    ]
    later = workspace.again()
    outcome = later.curate()
    assert later.judge.asked == {
        **{(1, name): 1 for name in NAMES[2:]},
        **{(2, name): 1 for name in NAMES},
    }
    assert workspace.summary(outcome)["panel"]["splits"]["4-1"] == 1
    assert [vote["persona"] for vote in later.log("annotation")[0]["votes"]] == list(NAMES)
    statuses = rows_of(later, "SELECT DISTINCT status, attempts FROM ballots")
    assert statuses == [{"status": "done", "attempts": 1}]


def test_a_retry_requests_only_missing_votes(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace = workspace.again(Stopping(3, InvalidReply("no")))
    workspace.curate()
    later = workspace.again()
    later.curate("--retry-failed")
    assert later.judge.asked == {(1, name): 1 for name in NAMES[2:]}
    assert later.kept() == ids(1)


def test_invalid_votes_of_an_interrupted_ballot_are_repeated(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace = workspace.again(Stopping(3, ModelUnavailable("gone")))
    workspace.judge.scores[1, "beta"] = None
    with pytest.raises(ModelUnavailable):
        workspace.curate()
    later = workspace.again()
    later.curate()
    assert later.judge.asked == {(1, name): 1 for name in NAMES if name != "alpha"}


def test_a_repeated_attempt_requests_only_missing_votes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StopToken, "wait", lambda *_, **__: True)
    workspace.rows(1)
    workspace = workspace.again(Stopping(4, GenerationFailed("500")))
    assert workspace.curate().result.code == 0
    assert workspace.judge.asked == {(1, name): 1 + (name == NAMES[3]) for name in NAMES}


def test_another_judge_is_reported(workspace: Workspace) -> None:
    def gone() -> None:
        raise ModelUnavailable("gone")

    workspace.rows(1, 2)
    workspace.judge.faults[2] = gone
    assert workspace.curate().result.code == 3
    same = workspace.again()
    same.curate()
    assert "another judge" not in workspace.stderr + same.stderr
    other = Judge()
    other.digests = {"fake": "1" * 64}
    later = same.again(other)
    later.curate()
    [line] = [line for line in later.stderr.splitlines() if "another judge" in line]
    assert line.endswith(
        "agent.csv was judged by producer (fake producer) before; producer (fake producer) is "
        "another judge, so that all votes are requested again"
    )
    again = later.again(other)
    again.curate()
    assert "another judge" not in again.stderr


# Ballots that fail


def test_a_failed_ballot_keeps_its_reply(workspace: Workspace) -> None:
    workspace.rows(1, 2, 3)
    workspace.judge.faults[2] = fault(InvalidReply("it was empty", raw="<half"))
    outcome = workspace.curate()
    assert outcome.result.code == 1
    assert workspace.kept() == ids(1, 3)
    found = workspace.rejected()[ids(2)[0]]
    assert (found["decision"], found["details"]) == ("failed", "InvalidReply: it was empty")
    [ballot] = rows_of(workspace, "SELECT * FROM ballots WHERE status = 'failed'")
    assert (ballot["raw_reply"], ballot["attempts"], ballot["retryable"]) == ("<half", 1, 0)
    assert "1 failed (--retry-failed retries them)" in workspace.stderr
    assert "InvalidReply: it was empty" in str(workspace.log("annotation")[1]["error"])
    assert [run["status"] for run in rows_of(workspace, "SELECT status FROM runs")] == ["failed"]


def test_an_internal_error_is_a_failed_ballot(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.judge.faults[1] = fault(ZeroDivisionError("surprise"))
    assert workspace.curate().result.code == 1
    assert workspace.kept() == ids(2)
    assert workspace.rejected()[ids(1)[0]]["details"] == "ZeroDivisionError: surprise"


def test_retry_failed_retries_failed_ballots_alone(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.judge.faults[2] = fault(InvalidReply("no"))
    workspace.curate()
    later = workspace.again()
    assert later.curate().result.code == 1
    assert later.judge.requests == []
    later.rows(1, 2, 3)
    outcome = later.curate("--retry-failed")
    assert outcome.result.code == 0
    assert asked_once(later.judge, 2)
    assert later.kept() == ids(1, 2)
    assert workspace.summary(outcome)["pending"] == 1
    assert "1 not judged yet" in later.stderr
    assert rows_of(workspace, "SELECT * FROM ballots WHERE status = 'failed'") == []


def test_attempts_are_counted(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.judge.faults[1] = fault(InvalidReply("no"))
    workspace.curate()
    workspace.curate("--retry-failed")
    [failed] = rows_of(workspace, "SELECT attempts FROM ballots WHERE status = 'failed'")
    assert failed["attempts"] == 2


def test_temporary_errors_are_retried(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[HarnessError] = [ModelBusy("full"), GenerationFailed("500")]

    def twice() -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr(StopToken, "wait", lambda *_, **__: True)
    workspace.rows(1)
    workspace.judge.faults[1] = twice
    assert workspace.curate().result.code == 0
    assert workspace.kept() == ids(1)


def test_a_lasting_error_is_a_failed_ballot(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StopToken, "wait", lambda *_, **__: True)
    workspace.rows(1, 2)
    workspace.judge.faults[1] = fault(GenerationFailed("server error 500", partial="4"))
    assert workspace.curate().result.code == 1
    [failed] = rows_of(workspace, "SELECT * FROM ballots WHERE status = 'failed'")
    assert (failed["error_type"], failed["raw_reply"]) == ("GenerationFailed", "4")
    assert failed["retryable"] == 1
    assert workspace.kept() == ids(2)


def test_annotations_are_judged_in_parallel_slots(
    workspace: Workspace,
) -> None:
    meeting = threading.Barrier(3, timeout=10)
    judge = Judge(slots=3)
    for number in range(6):
        judge.faults[number] = lambda: meeting.wait() and None
    workspace.app.close()
    workspace = Workspace(workspace.folder, judge)
    workspace.rows(*range(6))
    workspace.curate()
    assert workspace.kept() == ids(*range(6))
    assert {request.slot for request in judge.requests} == {0, 1, 2}


def texts_of(request: Any) -> str:
    return "\n".join(message.content for message in request.messages)


def test_one_slot_serves_all_personas_of_an_annotation(workspace: Workspace) -> None:
    workspace.app.close()
    workspace = Workspace(workspace.folder, Judge(slots=3))
    workspace.rows(*range(6))
    workspace.curate()
    slots: dict[str, set[int | None]] = {}
    for request in workspace.judge.requests:
        shared = texts_of(request).partition("</annotation>")[0]
        slots.setdefault(shared, set()).add(request.slot)
    assert len(slots) == 6 + 6
    assert all(len(found) == 1 for found in slots.values())


# Other processes


def test_another_process_on_the_same_input_is_refused(workspace: Workspace) -> None:
    workspace.rows(1)
    name = f"the curation of {workspace.table.resolve()}"
    with (
        job_lock(locks(workspace.corpus), name),
        pytest.raises(UsageError, match="is locked by process"),
    ):
        workspace.curate(table="agent.csv")
    assert workspace.judge.requests == []


def test_a_failure_does_not_replace_votes_of_another_process(workspace: Workspace) -> None:
    """Two tables share an annotation, and the second process fails at it."""

    def other() -> None:
        with open_corpus(workspace.corpus) as db:
            fake_models(workspace.judge, "judge").run("judge", lambda served: judged(db, served))
        raise InvalidReply("no")

    def judged(db: Any, served: ServedModel) -> None:
        judge = curator.Judge(PANEL, served, nanda(), FORM)
        votes = [Vote(name, 4.0, 1.0, {"4": 1.0}, 9, 0, 0.1) for name in NAMES]
        Ballots(db, judge).save(item(1), votes)

    workspace.rows(1)
    workspace.judge.faults[1] = other
    outcome = workspace.curate()
    assert (outcome.result.code, workspace.kept()) == (0, ids(1))
    assert rows_of(workspace, "SELECT status FROM ballots WHERE probe IS NULL") == [
        {"status": "done"}
    ]
