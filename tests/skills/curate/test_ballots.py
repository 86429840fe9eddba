"""Databases and panels of the removed reading mode, and judges that cannot answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from curate_workspace import (
    CHOSEN,
    NAMES,
    PANEL,
    Judge,
    Workspace,
    gated,
    ids,
    item,
    row,
    rows_of,
    write_table,
)

from harness.errors import InputError
from harness.models.served import ServedModel
from harness.testing import fake_models
from skills.curate import curator, panel
from skills.curate.ballots import key_of
from skills.curate.outputs import VoteForm
from skills.curate.panel import Panel
from skills.nanda.framework import nanda

READS = {
    "alpha": ("claim", "evidence"),
    "beta": ("method",),
    "gamma": ("scope",),
    "delta": ("novelty",),
    "epsilon": ("comparison", "limitation"),
}


def reading_panel() -> Panel:
    """A panel file as it was before: each persona has moves that it reads."""
    data = PANEL.model_dump()
    for one in data["personas"]:
        one["reads"] = {"moves": READS[one["name"]], "least": 1.5, "threshold": 2.5}
    return Panel.model_validate(data)


def judge_of(of: Panel) -> curator.Judge:
    found: list[ServedModel] = []
    fake_models(Judge(), "judge").run("judge", found.append)
    return curator.Judge(of, found[0], nanda(), VoteForm("logprobs", CHOSEN))


# Content keys of commit c0082a3


def test_votes_of_questions_keep_their_keys() -> None:
    assert key_of(item(1), judge_of(PANEL)) == (
        "b1:65317f4add9ccc3bd41eb9c87f66224a8b8b45edeb323b8c2f890efd7f992c7e"
    )
    assert key_of(item(1), judge_of(reading_panel())) == (
        "b1:7933427b2bde00dac9506e567bab3cec743fb69b739855f9383f0aff7bdd40d6"
    )


def test_the_shipped_panel_keeps_its_digest() -> None:
    assert panel.shipped().digest == (
        "bf63aecad47c1495c403796bd59b81993c9b28dd64723a8e668e84e1c3e2966d"
    )


# A judge that cannot answer


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose judge has little probability on the answers, which is to be measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(panel, "shipped", lambda: PANEL)
    judge = Judge()
    judge.masses = dict.fromkeys(PANEL.prefills, 0.25)
    return Workspace(tmp_path, judge, form=None)


def test_the_gates_decide_alone(silent: Workspace) -> None:
    write_table(silent.table, row(1), gated(2), row(3))
    outcome = silent.curate("--probes 2 --explain")
    assert outcome.result.code == 0
    assert silent.kept() == ids(1, 3)
    assert list(silent.rejected()) == ids(2)
    assert len(silent.judge.requests) == len(PANEL.prefills), "only the form is measured"
    summary = silent.summary(outcome)
    assert (summary["kept"], summary["judged"], summary["pending"]) == (2, 0, 0)
    assert (summary["panel"], summary["judge"]["form"]["mass"]) == (None, 0.25)
    assert summary["probes"]["kinds"]["other-paper"]["gates"]["share"] == 1.0
    assert summary["probes"]["kinds"]["other-paper"]["panel"]["of"] == 0
    [note] = summary["notes"]
    assert note.startswith("the judge cannot answer: 25% of the probability lies on the answers")
    assert "the gates alone decided" in silent.stderr.replace("\n  ", " ")
    assert "cannot vote by one token" in silent.stderr
    page = (silent.folder / "agent_curation_report.html").read_text(encoding="utf-8")
    assert "The judge cannot answer" in page


def test_a_form_that_cannot_answer_is_measured_again(silent: Workspace) -> None:
    silent.rows(1)
    silent.curate()
    assert rows_of(silent, "SELECT * FROM judge_forms") == []
    silent.app.close()
    later = Workspace(silent.folder, Judge(), form=None)
    later.curate()
    assert set(later.judge.asked) == {(1, name) for name in NAMES}


def test_nothing_is_calibrated_by_it(silent: Workspace) -> None:
    silent.rows(1)
    with pytest.raises(InputError, match="no judged annotation to calibrate on"):
        silent.curate("--calibrate")
    [run] = rows_of(silent, "SELECT status FROM runs")
    assert run == {"status": "failed"}
