"""/curate as a job: decisions, probes, how the judge votes, and what is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from curate_workspace import (
    CHOSEN,
    NAMES,
    PANEL,
    Judge,
    Workspace,
    asked_once,
    fault,
    gated,
    ids,
    moves,
    read_table,
    row,
    rows_of,
    votes_for,
    write_table,
)

from harness.errors import InputError, Interrupted, InvalidReply, UsageError
from harness.settings import CODE_ROOT
from harness.terminal.console import Progress
from harness.testing import FakeBackend
from skills.corpus.db.connection import open_corpus
from skills.curate import curation, panel, probes
from skills.curate.outputs import VoteForm

KINDS = (*probes.KINDS, *probes.SUBTLE)


# Decisions


def test_three_of_five_votes_keep_in_input_order(workspace: Workspace) -> None:
    workspace.rows(5, 0, 4, 3, 2, 1)
    for number in range(6):
        votes_for(workspace.judge, number, passing=number)
    outcome = workspace.curate()
    assert outcome.result.code == 0
    assert workspace.kept() == ids(5, 4, 3)
    assert list(workspace.rejected()) == ids(0, 2, 1)
    summary = workspace.summary(outcome)
    assert (summary["kept"], summary["rejected"], summary["gated"]) == (3, 3, 0)
    assert summary["panel"]["splits"] == {
        **{f"{n}-{5 - n}": 1 for n in range(5, -1, -1)},
        "with an invalid vote": 0,
    }


@pytest.mark.parametrize(("votes", "kept"), [(1, [1, 2, 3, 4, 5]), (5, [5])])
def test_min_votes_is_applied(workspace: Workspace, votes: int, kept: list[int]) -> None:
    workspace.rows(1, 2, 3, 4, 5)
    for number in range(1, 6):
        votes_for(workspace.judge, number, passing=number)
    workspace.curate(f"--min-votes {votes}")
    assert workspace.kept() == ids(*kept)


@pytest.mark.parametrize("votes", [0, 6])
def test_votes_that_the_panel_cannot_give_are_refused(workspace: Workspace, votes: int) -> None:
    workspace.rows(1)
    with pytest.raises(UsageError, match="votes"):
        workspace.curate(f"--min-votes {votes}")
    assert not workspace.judge.requests


def test_a_score_at_the_threshold_passes(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.judge.scores |= {(1, ""): 3.0, (2, ""): 2.999}
    workspace.curate()
    assert workspace.kept() == ids(1)
    assert workspace.rejected()[ids(2)[0]]["alpha"] == "2.999"


def test_an_invalid_vote_is_neither_a_pass_nor_a_fail(workspace: Workspace) -> None:
    expected = {
        (3, 2): "kept",
        (2, 3): "undecided",
        (2, 1): "undecided",
        (0, 5): "undecided",
        (1, 1): "rejected",
        (2, 0): "rejected",
    }
    workspace.rows(*range(6))
    for number, (passing, invalid) in enumerate(expected):
        votes_for(workspace.judge, number, passing, invalid)
    outcome = workspace.curate()
    assert outcome.result.code == 0
    summary = workspace.summary(outcome)
    assert [summary[decision] for decision in ("kept", "undecided", "rejected")] == [1, 3, 2]
    assert workspace.kept() == ids(0)
    assert summary["panel"]["splits"]["with an invalid vote"] == 5
    noted = [vote["passed"] for vote in workspace.log("annotation")[1]["votes"]]
    assert noted == [True, True, None, None, None]
    for number, ((passing, invalid), decision) in enumerate(expected.items()):
        if decision == "kept":
            continue
        found = workspace.rejected()[ids(number)[0]]
        against = NAMES[passing + invalid :]
        reasons = ("invalid-votes", *against) if decision == "undecided" else against
        assert (found["decision"], found["reasons"].split()) == (decision, list(reasons))
        assert found["votes"] == f"{passing} of 5"
        assert found["mean"] == ("" if invalid == 5 else found["mean"])


def test_what_a_gate_rejects_costs_no_request(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), gated(2), row(3))
    workspace.curate()
    assert asked_once(workspace.judge, 1, 3)
    assert not any("777 times" in r.messages[-1].content for r in workspace.judge.requests)
    found = workspace.rejected()[ids(2)[0]]
    assert (found["decision"], found["reasons"], found["votes"]) == ("rejected", "number", "")
    assert found["details"] == "claim: the number 777 is not in the abstract"


def test_a_row_of_another_framework_is_refused_before_the_panel_judges(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeBackend, "load", lambda *_: pytest.fail("a model was loaded"))
    other = {"provenance": json.dumps({"framework": {"name": "other"}})}
    write_table(workspace.table, row(1) | other)
    with pytest.raises(InputError, match="was made with the framework other, not nanda"):
        workspace.curate()


def test_no_model_is_loaded_if_the_gates_reject_all(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeBackend, "load", lambda *_: pytest.fail("a model was loaded"))
    write_table(workspace.table, gated(1), gated(2))
    outcome = workspace.curate("--explain")
    assert outcome.result.code == 0
    assert workspace.kept() == []
    assert list(workspace.rejected()) == ids(1, 2)
    summary = workspace.summary(outcome)
    assert (summary["probes"], summary["panel"], summary["judge"]["model"]) == (None, None, None)
    assert "nothing is left to judge, and no model is loaded" in workspace.stderr
    assert "judge: none was needed" in workspace.stderr
    page = (workspace.folder / "agent_curation_report.html").read_text()
    assert "not needed: the gates left nothing to judge" in page
    [run] = rows_of(workspace, "SELECT model, status FROM runs")
    assert run == {"model": "", "status": "done"}


@pytest.mark.parametrize(
    ("rest", "message"),
    [("--calibrate", "no judged annotation to calibrate on"), ("--model nobody", "nobody")],
)
def test_options_are_checked_with_nothing_left_to_judge(
    workspace: Workspace, rest: str, message: str
) -> None:
    write_table(workspace.table, gated(1))
    with pytest.raises(UsageError, match=message):
        workspace.curate(rest)
    assert rows_of(workspace, "SELECT * FROM runs") == []


# Probes


def test_probes_are_judged_and_logged_and_never_kept(workspace: Workspace) -> None:
    numbers = range(1, 2 * len(KINDS) + 1)
    workspace.rows(*numbers)
    original = Judge._recorded

    class Fooled(Judge):
        """A judge that passes everything."""

        def _recorded(self, request: Any) -> tuple[int, str]:
            return 1, original(self, request)[1]

    workspace = workspace.again(Fooled())
    outcome = workspace.curate("--probes 2 --min-votes 1")
    assert workspace.kept() == ids(*numbers)
    assert workspace.rejected() == {}
    assert [
        tuple(one[name] for name in moves(1))
        for one in read_table(workspace.folder / "agent_curated.csv")
    ] == [tuple(moves(number).values()) for number in numbers]
    found = workspace.log("probe")
    assert {one["probe"] for one in found} == set(KINDS)
    assert all(len(one["votes"]) == 5 and one["changed"] for one in found)
    # A probe with a finding of a gate is rejected, whatever the panel votes.
    for one in found:
        assert one["decision"] == ("rejected" if one["findings"] else "kept")
        assert one["for"] == 5
    assert workspace.summary(outcome)["annotations"] == len(numbers)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_there_are_at_most_as_many_probes_as_annotations(workspace: Workspace, count: int) -> None:
    write_table(workspace.table, *map(row, range(count)), gated(99))
    workspace.curate("--probes 8")
    kinds = [probe["probe"] for probe in workspace.log("probe")]
    assert len(kinds) == count
    assert sorted(kinds, key=probes.IN_TURN.index) == list(probes.IN_TURN[:count])
    assert len(workspace.judge.requests) == 2 * count * len(NAMES)
    ones = "known-bad one" if count == 1 else "known-bad ones"
    assert f", {count} {ones} among them" in workspace.stderr


def test_probes_measure_the_panel_without_the_gates(workspace: Workspace) -> None:
    workspace.rows(*range(1, 2 * len(KINDS) + 1))
    summary = workspace.summary(workspace.curate("--probes 2"))
    for found in (*summary["probes"]["kinds"].values(), summary["probes"]["all"]):
        assert found["gates"]["share"] == found["panel"]["share"] == 1.0
        assert found["auroc"]["value"] == 1.0
    assert [one["auroc"]["value"] for one in summary["panel"]["personas"]] == [1.0] * len(NAMES)
    assert summary["probes"]["all"]["together"]["of"] == 2 * len(probes.KINDS)
    for found in summary["probes"]["subtle"].values():
        assert (found["gates"]["share"], found["panel"]["share"]) == (0.0, 1.0)


def test_a_failed_probe_is_reported(workspace: Workspace) -> None:
    class Broken(Judge):
        def generate(self, request: Any, *rest: Any) -> Any:
            reply = super().generate(request, *rest)
            if "(empty)" in request.messages[-1].content:
                raise InvalidReply("no answer", raw="?")
            return reply

    workspace.rows(*range(1, 7))
    workspace = workspace.again(Broken())
    outcome = workspace.curate("--probes 1")
    assert outcome.result.code == 1
    assert workspace.summary(outcome)["probes"]["failed"] == 1
    assert "1 of the probes failed (--retry-failed retries them)" in workspace.stderr
    [failed] = [one for one in workspace.log("probe") if one["error"]]
    assert (failed["probe"], failed["decision"]) == ("move-emptied", "rejected")
    assert failed["error"] == "InvalidReply: no answer"
    again = workspace.again()
    assert again.curate("--retry-failed").result.code == 0
    assert (again.judge.asked.total(), again.judge.probed) == (0, len(NAMES))


# The vote form


@pytest.fixture
def unmeasured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a workspace whose judge has no stored form."""
    monkeypatch.setattr(panel, "shipped", lambda: PANEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_form_is_measured_once_and_kept(unmeasured: Path) -> None:
    judge = Judge()
    judge.masses = {"": 0.2, "Rating:": 0.6, "Rating: ": 0.9}
    first = Workspace(unmeasured, judge, form=None)
    first.rows(1, 2)
    first.curate()
    [form] = rows_of(first, "SELECT * FROM judge_forms")
    assert (form["kind"], form["prefill"], form["mass"]) == ("logprobs", CHOSEN, 0.9)
    assert json.loads(form["measured"])["masses"] == judge.masses
    assert sum(judge.asked.values()) == len(PANEL.prefills) + 2 * len(NAMES)
    first.app.close()
    later = Workspace(unmeasured, Judge(), form=None)
    later.rows(1, 2, 3)
    later.curate()
    assert asked_once(later.judge, 3)
    assert {r.prefill for r in later.judge.requests} == {CHOSEN}


def test_measuring_is_announced_after_the_input_and_shows_its_progress(unmeasured: Path) -> None:
    workspace = Workspace(unmeasured, Judge(), form=None)
    workspace.rows(1, 2, 3, 4)
    steps: list[Progress] = []
    workspace.app.dispatch(workspace.line(), progress=steps.append)
    said = [
        workspace.stderr.index(text)
        for text in ("4 annotations", "first measured on 2", " to judge, 1 at a time")
    ]
    assert said == sorted(said)
    measuring = "measuring how the judge votes"
    assert [step.message for step in steps if step.message.startswith(measuring)] == [
        measuring,
        f"{measuring}: 1 of 2",
        f"{measuring}: 2 of 2",
    ]


@pytest.mark.parametrize("stored", ['{"": 0.2}', '{"masses": {"": 0.2}, "compared": null}'])
def test_a_form_that_an_earlier_version_stored_is_measured_again(
    unmeasured: Path, stored: str
) -> None:
    workspace = Workspace(unmeasured)
    with open_corpus(workspace.corpus) as db:
        db.execute("UPDATE judge_forms SET measured = ?", [stored])
    workspace.rows(1)
    assert workspace.curate().result.code == 0
    [form] = rows_of(workspace, "SELECT measured FROM judge_forms")
    assert set(json.loads(form["measured"])) == {"masses", "items"}


def test_a_judge_without_probabilities_votes_as_json(unmeasured: Path) -> None:
    judge = Judge()
    judge.has_logprobs = False
    judge.scores[2, ""] = 2.0
    workspace = Workspace(unmeasured, judge, form=None)
    workspace.rows(1, 2)
    outcome = workspace.curate()
    assert workspace.kept() == ids(1)
    assert workspace.summary(outcome)["judge"]["form"]["kind"] == "json"
    assert any(
        "returns no token probabilities" in note for note in workspace.summary(outcome)["notes"]
    )
    assert [vote["mass"] for vote in workspace.log("annotation")[0]["votes"]] == [None] * 5


def test_unusable_json_makes_invalid_votes(unmeasured: Path) -> None:
    judge = Judge()
    judge.json_answer = '{"answer": 9}'
    workspace = Workspace(unmeasured, judge, form=VoteForm("json"))
    workspace.rows(1)
    outcome = workspace.curate()
    assert workspace.summary(outcome)["undecided"] == 1
    assert any("votes are invalid" in note for note in workspace.summary(outcome)["notes"])


def test_a_form_that_could_not_be_measured_is_not_kept(unmeasured: Path) -> None:
    workspace = Workspace(unmeasured, Judge(context=100), form=None)
    workspace.rows(1)
    outcome = workspace.curate()
    assert outcome.result.code == 1
    assert workspace.rejected()[ids(1)[0]]["details"].startswith("InputError: the prompt has")
    assert rows_of(workspace, "SELECT * FROM judge_forms") == []


def test_the_first_of_two_measured_forms_is_used(unmeasured: Path) -> None:
    judge = Judge()
    workspace = Workspace(unmeasured, judge, form=None)
    workspace.rows(1)
    judge.faults[1] = lambda: workspace.settle(VoteForm("logprobs", "Rating:", 0.5))
    workspace.curate()
    assert [form["prefill"] for form in rows_of(workspace, "SELECT * FROM judge_forms")] == [
        "Rating:"
    ]
    assert judge.requests[-1].prefill == "Rating:"


def test_ctrl_c_while_the_form_is_measured_keeps_none(unmeasured: Path) -> None:
    workspace = Workspace(unmeasured, Judge(), form=None)
    workspace.rows(1)
    workspace.judge.faults[1] = fault(KeyboardInterrupt())
    with pytest.raises(Interrupted):
        workspace.curate()
    assert rows_of(workspace, "SELECT * FROM judge_forms") == []
    assert not (unmeasured / "agent_curated.csv").exists()


def test_a_framework_without_a_quoted_move_is_refused(workspace: Workspace) -> None:
    text = (CODE_ROOT / "skills" / "nanda" / "nanda.yaml").read_text(encoding="utf-8")
    (workspace.folder / "own.yaml").write_text(text.replace("name: claim", "name: thesis"))
    workspace.rows(1)
    with pytest.raises(InputError, match="persona alpha asks about 'claim'"):
        workspace.curate("--framework own.yaml")
    assert workspace.judge.requests == []


# Records of runs and votes


def test_a_larger_limit_continues(workspace: Workspace) -> None:
    workspace.rows(1, 2, 3)
    workspace.curate("--limit 2")
    assert workspace.kept() == ids(1, 2)
    workspace.curate()
    assert asked_once(workspace.judge, 1, 2, 3)
    assert workspace.kept() == ids(1, 2, 3)


def test_each_start_is_a_row_in_runs(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.curate()
    [run] = rows_of(workspace, "SELECT * FROM runs")
    assert (run["skill"], run["status"], run["model"]) == ("curate", "done", "producer")
    assert json.loads(run["summary"])["kept"] == 2
    assert json.loads(run["settings"])["panel"] == PANEL.digest
    [judged] = rows_of(workspace, "SELECT count(*) AS ballots FROM ballots")
    # Each of the two rows and each probe has a ballot.
    assert json.loads(run["settings"])["due"] == judged["ballots"] > 2
    decided = rows_of(workspace, "SELECT * FROM verdicts WHERE probe IS NULL")
    assert [(one["source_id"], one["decision"], one["votes"]) for one in decided] == [
        (ids(1)[0], "kept", 5),
        (ids(2)[0], "kept", 5),
    ]
    votes = rows_of(workspace, "SELECT * FROM votes WHERE threshold IS NULL OR passed IS NULL")
    assert votes == []


def test_a_broken_run_is_recorded_as_failed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise InputError("broken")

    monkeypatch.setattr(curation.run_summary, "of_run", broken)
    workspace.rows(1)
    with pytest.raises(InputError, match="broken"):
        workspace.curate()
    [run] = rows_of(workspace, "SELECT * FROM runs")
    assert (run["status"], json.loads(run["summary"])) == ("failed", {"error": "broken"})


def test_a_ballot_references_a_stored_annotation(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.app.dispatch("/corpus add agent.csv")
    workspace.curate()
    found = rows_of(workspace, "SELECT annotation_id, probe FROM ballots")
    assert {one["annotation_id"] is None for one in found if one["probe"] is None} == {False}
    assert {one["annotation_id"] is None for one in found if one["probe"]} == {True}
