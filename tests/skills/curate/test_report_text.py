"""The report of a run for a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from curate_workspace import NAMES, PANEL, Judge, Workspace, gated, ids, row, write_table

from skills.corpus.db.connection import open_corpus
from skills.curate.outputs import (
    Added,
    Auroc,
    Curation,
    JudgeFacts,
    NotKept,
    ProbeFigures,
    ProbesRejected,
    VoteForm,
)
from skills.curate.report_text import _on_separation as of_judge
from skills.curate.report_text import text, verdict_of
from skills.reporting.intervals import Share

HINT = "... `save to FILE` writes all of them"
GATES = "rejected by the gates for"


@pytest.mark.parametrize(
    ("lost", "gates", "is_saved", "expected"),
    [
        (1, {}, False, (False, False, False)),
        (2, {}, False, (True, True, False)),
        (2, {}, True, (True, False, False)),
        (1, {"number": 1}, False, (False, False, True)),
    ],
    ids=["all shown", "by the panel", "saved", "by the gates"],
)
def test_what_is_not_shown_is_mentioned(
    lost: int, gates: dict[str, int], is_saved: bool, expected: tuple[bool, bool, bool]
) -> None:
    one = NotKept(id="1", title="A title", decision="undecided", reasons=[], details=["a tie"])
    summary = Curation.model_construct(
        verdict=["5 annotations", "The panel."],
        judge=JudgeFacts.model_construct(form=None),
        notes=[],
        not_kept=[one],
        annotations=5,
        kept=4 - lost,
        pending=1,
        gates=gates,
    )
    shown = text(summary, is_saved=is_saved)
    assert ("\n..." in shown, HINT in shown, GATES in shown) == expected


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


def summary(bad: tuple[int, int], good: tuple[int, int], mass: float = 0.9) -> Curation:
    line = Added(
        who="panel", caught=Share(*bad), cost=Share(*good), alone=None, no_vote=0, edge=None
    )
    form = VoteForm(kind="logprobs", prefill="", mass=mass, measured={}, items=0)
    return Curation.model_construct(
        **COUNTS,
        judge=JudgeFacts.model_construct(form=form),
        probes=ProbeFigures.model_construct(failed=0, added=[line]),
    )


@pytest.mark.parametrize(
    ("bad", "good", "message"),
    [
        (
            (3, 24),
            (2, 58),
            "it rejected 3 of 24 known-bad ones and 2 of 58 of yours, which",
        ),
        ((0, 9), (0, 3), "is not shown to add anything to the gates: of the annotations"),
        ((0, 9), (0, 3), "0 of 9 known-bad ones and 0 of 3 of yours, which could be chance."),
        ((12, 24), (2, 58), "The panel adds to the gates: of the annotations that pass the gates"),
        ((0, 0), (2, 58), "no known-bad annotation that passes the gates was judged"),
    ],
)
def test_what_the_panel_adds(bad: tuple[int, int], good: tuple[int, int], message: str) -> None:
    outcome, panel = verdict_of(summary(bad, good))
    assert outcome == (
        "agent.csv: 10 annotations: 7 kept, 3 rejected (2 by the gates, 1 by the panel)"
    )
    assert message in panel


def test_a_judge_that_cannot_answer_did_not_vote() -> None:
    assert "the gates alone decided" in verdict_of(summary((0, 0), (0, 0), mass=0.2))[1]


def test_the_report_and_the_page_begin_with_it(workspace: Workspace) -> None:
    write_table(workspace.table, *map(row, range(6)), gated(9))
    outcome = workspace.curate("--probes 8", save="")
    lines = outcome.result.text.splitlines()
    assert lines[0].endswith("7 annotations: 6 kept, 1 rejected (1 by the gates, 0 by the panel)")
    assert lines[1].startswith("The panel adds to the gates: of the annotations that pass")
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


def notes(summary: dict[str, Any]) -> str:
    return "\n".join(summary["notes"])


def test_a_judge_near_chance_is_noted(workspace: Workspace) -> None:
    class Blind(Judge):
        """A judge whose score depends on the persona only."""

        def _recorded(self, request: Any) -> tuple[int, str]:
            return 1, super()._recorded(request)[1]

    workspace.rows(*range(1, 21))
    workspace = workspace.again(Blind())
    summary = workspace.summary(workspace.curate("--probes 7"))
    assert "does not separate known-bad annotations from yours" in notes(summary)
    assert "is near chance, and only the gates are useful" in notes(summary)


def test_a_good_judge_has_no_such_note(workspace: Workspace) -> None:
    workspace.rows(*range(1, 25))
    summary = workspace.summary(workspace.curate("--probes 3"))
    assert summary["notes"] == [note for note in summary["notes"] if note.startswith("uncal")]


def test_with_few_rows_the_judge_is_not_assessed(workspace: Workspace) -> None:
    workspace.rows(1)
    summary = workspace.summary(workspace.curate())
    assert "too few annotations were judged to know whether" in notes(summary)
    assert "chance" not in notes(summary)


@pytest.mark.parametrize(
    ("value", "low", "high", "message"),
    [
        (0.2, 0.1, 0.49, "this judge scores known-bad annotations above yours (AUROC 0.20, "),
        (0.5, 0.4, 0.6, "near chance"),
        (0.45, 0.2, 0.7, "too few annotations were judged"),
        (0.7, 0.49, 0.9, "too few annotations were judged"),
        (0.6, 0.51, 0.69, "this judge is weak (AUROC 0.60, 0.51 to 0.69 "),
        (0.7, 0.6, 0.8, ""),
    ],
)
def test_the_note_about_the_judge(value: float, low: float, high: float, message: str) -> None:
    is_chance = low <= 0.5 <= high
    auroc = Auroc(value=value, low=low, high=high, n_good=9, n_bad=9, at_chance=is_chance)
    rejected = ProbesRejected.model_construct(auroc=auroc)
    probes = ProbeFigures.model_construct(all=rejected)
    found = "".join(of_judge(Curation.model_construct(judged=9, probes=probes)))
    assert message in found
    assert bool(message) == bool(found)


def test_without_probes_the_panel_is_not_assessed(workspace: Workspace) -> None:
    write_table(workspace.table, gated(1))
    summary = workspace.summary(workspace.curate())
    assert summary["probes"] is None
    assert "quality of the panel is not known" in notes(summary)


def test_an_agreement_of_few_has_no_interval(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.judge.scores |= {(1, "alpha"): 2.0, (2, ""): 2.5}
    assert "(no interval from fewer than 10 annotations)" in (
        workspace.curate("--details", save="").result.text
    )


def test_the_judges_own_annotations_are_counted(workspace: Workspace) -> None:
    workspace.rows(1, 2, 3)
    workspace.app.dispatch("/corpus add agent.csv")
    with open_corpus(workspace.corpus) as db:
        db.execute("BEGIN")
        for found in list(db.execute("SELECT id, record FROM annotations WHERE id < 3")):
            record = json.loads(found["record"])
            record["provenance"]["digests"] = {"weights": "0" * 64}
            db.execute(
                "UPDATE annotations SET record = ? WHERE id = ?", [json.dumps(record), found["id"]]
            )
        db.commit()
    summary = workspace.summary(workspace.curate())
    assert "the judge's own weights made 2 of 3 judged annotations" in notes(summary)
    other = Judge()
    other.digests = {"fake": "1" * 64}
    assert "own weights" not in notes(workspace.summary(workspace.again(other).curate()))


def test_many_invalid_votes_are_noted(workspace: Workspace) -> None:
    workspace.rows(1, 2)
    workspace.judge.scores |= {(1, name): None for name in NAMES[:3]}
    outcome = workspace.curate()
    assert "3 of 10 votes are invalid" in notes(workspace.summary(outcome))
    workspace.judge.scores = {}
    later = workspace.again()
    later.rows(3, 4)
    assert "invalid" not in notes(later.summary(later.curate()))


def test_the_report_shows_each_persona_and_what_it_adds(workspace: Workspace) -> None:
    write_table(workspace.table, row(1), row(2), gated(3))
    workspace.judge.scores[2, ""] = 2.0
    outcome = workspace.curate("--details", save="")
    text = outcome.result.text
    assert all(text.count(name) >= 2 for name in PANEL.names)
    for message in (
        "1 kept, 2 rejected (1 by the gates, 1 by the panel)",
        "votes by one token after 'Rating: ' (95% of the probability on answers)",
        "3 of 5 votes keep",
        "votes: 5-0 1, 0-5 1",
        "Krippendorff's alpha",
        "effective votes",
        "Spearman's rho",
        "votes and mean score decide differently: 0 of 2",
        "known-bad, rejected by",
        "what each adds to the gates",
    ):
        assert message in text


def test_borderline_rows_are_listed(workspace: Workspace) -> None:
    workspace.rows(1, 2, 3)
    workspace.judge.scores[2, ""] = 2.95
    outcome = workspace.curate("--details")
    found = workspace.summary(outcome)["panel"]["borderline"]
    assert found["of"] == 1
    [one] = found["closest"]
    assert (one["id"], one["votes"], one["distance"]) == (ids(2)[0], 0, 0.05)
    assert f"1 near the threshold, first {ids(2)[0]} (0 votes, 0.050 off)" in workspace.stderr
