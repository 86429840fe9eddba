"""The verdict of a run, which every report begins with."""

from __future__ import annotations

from typing import Any

import pytest
from curate_workspace import Judge, Workspace, gated, row, write_table

from skills.curate.report.verdict import verdict
from skills.reporting.statistics import Share

COUNTS = {
    "input": "agent.csv",
    "annotations": 10,
    "kept": 7,
    "rejected": 3,
    "gated": 2,
    "undecided": 0,
    "failed": 0,
    "pending": 0,
    "filtered": {},
}


def summary(bad: tuple[int, int], good: tuple[int, int], mass: float | None = 0.9) -> Any:
    line = {"who": "panel", "caught": Share(*bad).as_dict(), "cost": Share(*good).as_dict()}
    judge = {"model": "producer", "form": {"mass": mass}}
    return {**COUNTS, "judge": judge, "probes": {"failed": 0, "added": [line]}}


@pytest.mark.parametrize(
    ("bad", "good", "message"),
    [
        ((3, 24), (2, 58), "it rejected 3 of 24, of yours 2 of 58, which could be chance."),
        ((0, 9), (0, 3), "is not shown to add anything to the gates: of the known-bad"),
        ((0, 9), (0, 3), "it rejected 0 of 9, of yours 0 of 3, which could be chance."),
        ((12, 24), (2, 58), "The panel adds to the gates: of the known-bad annotations"),
        ((0, 0), (2, 58), "is not known: no known-bad annotation that passes them was judged"),
    ],
)
def test_what_the_panel_adds(bad: tuple[int, int], good: tuple[int, int], message: str) -> None:
    outcome, panel = verdict(summary(bad, good))
    assert outcome == (
        "agent.csv: 10 annotations: 7 kept, 3 rejected (2 by the gates, 1 by the panel)"
    )
    assert message in panel


def test_a_judge_that_cannot_answer_did_not_vote() -> None:
    assert "the gates alone decided" in verdict(summary((0, 0), (0, 0), mass=0.2))[1]


def test_the_report_and_the_page_begin_with_it(workspace: Workspace) -> None:
    write_table(workspace.table, *map(row, range(6)), gated(9))
    outcome = workspace.curate("--probes 8", save="")
    lines = outcome.result.text.splitlines()
    assert lines[0].endswith("7 annotations: 6 kept, 1 rejected (1 by the gates, 0 by the panel)")
    assert lines[1].startswith("The panel adds to the gates: of the known-bad annotations")
    assert "effective votes" not in outcome.result.text, "figures are below --details"
    rejected = next(n for n, line in enumerate(lines) if line.startswith("rejected: "))
    assert lines[rejected + 1] == "  claim: the number 777 is not in the abstract"
    workspace.curate("--probes 8")
    page = (workspace.folder / "agent_curation_report.html").read_text("utf-8")
    assert page.index("The panel adds to the gates") < page.index("<table>")
    assert page.index("Weights (") > page.index('id="rows"'), "digests are at the end"


def test_without_a_judge_it_says_so(workspace: Workspace) -> None:
    write_table(workspace.table, gated(1))
    found = workspace.summary(workspace.again(Judge()).curate())["verdict"]
    assert found[1] == "The panel was not needed: the gates left nothing to judge."
