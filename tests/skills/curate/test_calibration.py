"""Calibrated thresholds, and explanations of rejections."""

from __future__ import annotations

import json
from typing import Any

import pytest
from curate_workspace import (
    NAMES,
    PANEL,
    Judge,
    Workspace,
    gated,
    ids,
    panel_of,
    row,
    write_table,
)

from harness.errors import InputError, InvalidReply, UsageError
from skills.corpus.db.connection import open_corpus
from skills.curate import panel
from skills.curate.outputs import VoteForm

ROWS = range(10)


def graded(workspace: Workspace) -> None:
    """Write ten rows that pass the default thresholds; the higher the number, the better."""
    workspace.rows(*ROWS)
    for number in ROWS:
        workspace.judge.scores[number, ""] = 3.5 + number / 10


def calibrations(workspace: Workspace) -> list[dict[str, Any]]:
    with open_corpus(workspace.corpus) as db:
        return [dict(row) for row in db.execute("SELECT * FROM calibrations")]


def notes(summary: dict[str, Any]) -> str:
    return "\n".join(summary["notes"])


# Thresholds


def test_without_calibration_defaults_apply_and_are_noted(workspace: Workspace) -> None:
    graded(workspace)
    summary = workspace.summary(workspace.curate())
    assert summary["kept"] == len(ROWS)
    assert summary["judge"]["calibrated"] is None
    assert notes(summary).startswith("uncalibrated: the thresholds are defaults")
    assert "! uncalibrated" in workspace.stderr


def test_calibrated_thresholds_reject_the_quota(workspace: Workspace) -> None:
    graded(workspace)
    outcome = workspace.curate("--calibrate --reject-rate 0.4")
    summary = workspace.summary(outcome)
    assert summary["rejected"] == 4
    assert workspace.kept() == ids(*range(4, 10))
    [note, *_] = summary["notes"]
    assert note.startswith(f"calibrated on {workspace.table} (10 annotations)")
    assert "reject 40% of them (reached: 40.0%): this rate is a quota" in note
    [known] = calibrations(workspace)
    assert (known["reject_rate"], known["achieved"], known["annotations"]) == (0.4, 0.4, 10)
    assert json.loads(known["thresholds"]) == pytest.approx([3.9] * 5)


def test_gate_rejections_count_towards_the_quota(workspace: Workspace) -> None:
    graded(workspace)
    write_table(workspace.table, *map(row, range(8)), gated(8), gated(9))
    summary = workspace.summary(workspace.curate("--calibrate"))  # the reject rate is 0.3
    assert (summary["gated"], summary["rejected"]) == (2, 3)


def test_later_runs_use_calibrated_thresholds_without_requests(workspace: Workspace) -> None:
    graded(workspace)
    workspace.curate(save="")
    first = workspace.again()
    assert first.summary(first.curate("--calibrate", save=""))["rejected"] == 3
    assert first.judge.requests == []
    later = first.again()
    summary = later.summary(later.curate())
    assert later.judge.requests == []
    assert later.kept() == ids(*range(3, 10))
    assert summary["judge"]["calibrated"]["created_at"]
    assert "calibrated on" in notes(summary)


def another_judge(monkeypatch: pytest.MonkeyPatch) -> tuple[Judge, str, VoteForm | None]:
    judge = Judge()
    judge.digests = {"fake": "1" * 64}
    return judge, "", VoteForm("logprobs", "Rating: ")


def another_panel(monkeypatch: pytest.MonkeyPatch) -> tuple[Judge, str, VoteForm | None]:
    changed = panel_of(system="You are strict.")
    monkeypatch.setattr(panel, "shipped", lambda: changed)
    return Judge(), "", VoteForm("logprobs", "Rating: ")


def another_form(monkeypatch: pytest.MonkeyPatch) -> tuple[Judge, str, VoteForm | None]:
    changed = panel_of(prefills=["I say "])
    monkeypatch.setattr(panel, "shipped", lambda: changed)
    return Judge(), "", VoteForm("logprobs", "I say ")


def another_bar(monkeypatch: pytest.MonkeyPatch) -> tuple[Judge, str, VoteForm | None]:
    return Judge(), "--min-votes 2", None


@pytest.mark.parametrize("other", [another_judge, another_panel, another_form, another_bar])
def test_another_judge_panel_form_or_min_votes_is_uncalibrated(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, other: Any
) -> None:
    graded(workspace)
    workspace.curate("--calibrate", save="")
    workspace.app.close()
    judge, options, form = other(monkeypatch)
    later = Workspace(workspace.folder, judge, form)
    graded(later)
    summary = later.summary(later.curate(options))
    assert summary["judge"]["calibrated"] is None
    assert summary["kept"] == len(ROWS)


def test_calibration_works_without_a_target_and_again(workspace: Workspace) -> None:
    graded(workspace)
    outcome = workspace.curate("--calibrate --reject-rate 0.2", save="")
    assert (outcome.result.code, outcome.saved) == (0, ())
    summary = workspace.summary(workspace.curate("--calibrate --reject-rate 0.5"))
    assert summary["rejected"] == 5
    assert len(calibrations(workspace)) == 2
    assert workspace.summary(workspace.curate())["rejected"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--reject-rate 0.3", "--reject-rate goes with --calibrate"),
        ("--calibrate --reject-rate 0", "reject-rate"),
        ("--calibrate --reject-rate 1", "reject-rate"),
        ("--calibrate --reject-rate 30", "reject-rate"),
    ],
)
def test_invalid_or_unused_rates_are_refused(
    workspace: Workspace, options: str, message: str
) -> None:
    workspace.rows(1)
    with pytest.raises(UsageError, match=message):
        workspace.curate(options)
    assert workspace.judge.requests == []


def test_calibration_needs_annotations_that_pass_the_gates(workspace: Workspace) -> None:
    write_table(workspace.table, gated(1))
    with pytest.raises(InputError, match="no judged annotation to calibrate on"):
        workspace.curate("--calibrate")
    assert calibrations(workspace) == []


def test_few_annotations_calibrate_poorly_which_is_noted(workspace: Workspace) -> None:
    graded(workspace)
    summary = workspace.summary(workspace.curate("--calibrate"))
    assert "set on 10 judged annotations, too few to generalise" in notes(summary)


# Explanations


def test_each_rejected_row_is_explained_once(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), row(2), gated(3))
    workspace.judge.scores |= {(2, ""): 2.0, (2, "gamma"): 1.5}
    workspace.curate()
    assert workspace.judge.explained == 0
    later = workspace.again()
    later.judge.reason = "Because\nit is not in it."
    later.curate("--explain")
    assert (later.judge.explained, len(later.judge.requests)) == (1, 1)
    assert "what gamma looks at is right" in later.judge.requests[0].messages[-1].content
    assert later.rejected()[ids(2)[0]]["explanation"] == "gamma: Because it is not in it."
    told = {
        vote["persona"]: vote["explanation"]
        for line in later.log("annotation")
        for vote in line["votes"]
        if line["arxiv_id"] == ids(2)[0]
    }
    assert told == dict.fromkeys(NAMES) | {"gamma": "Because it is not in it."}
    last = later.again()
    last.curate("--explain")
    assert last.judge.requests == []
    assert last.rejected()[ids(2)[0]]["explanation"] == "gamma: Because it is not in it."


def test_the_explaining_persona_did_not_pass_the_row(workspace: Workspace) -> None:
    thresholds = {**dict.fromkeys(NAMES, 3.0), "alpha": 1.0}
    data = PANEL.model_dump()
    data["personas"] = [{**one, "threshold": thresholds[one["name"]]} for one in data["personas"]]
    own = PANEL.model_validate(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panel, "shipped", lambda: own)
        workspace.rows(1)
        workspace.judge.scores |= {(1, ""): 2.0, (1, "alpha"): 1.5, (1, "delta"): 1.75}
        workspace.curate("--explain")
    assert workspace.rejected()[ids(1)[0]]["explanation"].startswith("delta: ")


def test_a_failed_explanation_affects_nothing_else(workspace: Workspace) -> None:
    class Silent(Judge):
        def generate(self, request: Any, *rest: Any) -> Any:
            if "As " not in request.messages[-1].content.rpartition("</annotation>")[2]:
                raise InvalidReply("it says nothing")
            return super().generate(request, *rest)

    workspace.rows(1, 2)
    workspace = workspace.again(Silent())
    workspace.judge.scores[2, ""] = 2.0
    assert workspace.curate("--explain").result.code == 0
    assert workspace.kept() == ids(1)
    assert workspace.rejected()[ids(2)[0]]["explanation"] == ""
    assert "line 3: not explained: it says nothing" in workspace.stderr


def test_an_empty_explanation_is_not_requested_again(workspace: Workspace) -> None:
    workspace.rows(1)
    workspace.judge.scores[1, ""] = 2.0
    workspace.judge.reason = "  "
    workspace.curate("--explain")
    later = workspace.again()
    later.curate("--explain")
    assert (workspace.judge.explained, later.judge.explained) == (1, 0)
    assert later.rejected()[ids(1)[0]]["explanation"] == ""
