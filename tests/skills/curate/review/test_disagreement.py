"""The agreement of reviewers, against known values and the package `krippendorff`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import krippendorff
import pytest
from declared_outputs import check_output
from reviewing import MOVES, Workspace, row

from harness.errors import UsageError
from harness.testing import fake_app
from skills.curate.plugin import Curate
from skills.curate.review.disagreement import (
    Dispute,
    Row,
    agreement,
    disagreements,
    dispute_at,
    outline,
    passage_agreement,
    rated,
)
from skills.curate.review.review_command import show_agreement
from skills.curate.review.reviewer import Desk
from skills.nanda.framework import nanda

PAPERS = 20


def decided(accepted: bool, **changed: str) -> Any:
    return SimpleNamespace(
        what="accept" if accepted else "reject", changed=tuple(changed), moves={**MOVES, **changed}
    )


def pair(one: bool, two: bool, claim: str) -> dict[str, Any]:
    """Return two decisions that accept, with this claim where the flag is False."""
    return {
        name: decided(True, **({} if kept else {"claim": claim}))
        for name, kept in (("ada", one), ("bo", two))
    }


def found(decisions: list[dict[str, Any]], what: str, judged: str) -> Any:
    return next(
        one for one in agreement(decisions, nanda()) if (one.what, one.judged) == (what, judged)
    )


# As in Cohen's textbook example: both yes 20, first only 5, second only 10, both no 15.
TABLE = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15


def test_the_agreement_about_annotations() -> None:
    given = [{"ada": decided(one), "bo": decided(two)} for one, two in TABLE]
    whole = found(given, "Annotation", "accepted")
    assert whole.kappa.value == pytest.approx(0.4)
    by_package = krippendorff.alpha(
        [[int(one) for one, _ in TABLE], [int(two) for _, two in TABLE]],
        level_of_measurement="nominal",
    )
    assert whole.alpha.value == pytest.approx(by_package)
    assert (whole.same.count, whole.same.of) == (35, 50)
    assert whole.kappa.low < 0.4 < whole.kappa.high
    # Only the 20 papers that both accepted say something about a move.
    assert found(given, "Claim", "kept").same.of == 20


def test_the_agreement_about_a_move() -> None:
    edited = {True: {}, False: {"claim": "Another."}}
    given = [
        {"ada": decided(True, **edited[a]), "bo": decided(True, **edited[b])} for a, b in TABLE
    ]
    kept = found(given, "Claim", "kept")
    assert kept.kappa.value == pytest.approx(0.4)
    stated = found(given, "Claim", "stated")
    assert (stated.kappa.value, stated.kappa.why) == (None, "n/a, unanimous")
    assert stated.same.value == 1.0
    given = [pair(a, b, "Not stated.") for a, b in TABLE]
    assert found(given, "Claim", "stated").kappa.value == pytest.approx(0.4)


def test_reviewers_of_different_papers_are_pooled() -> None:
    names = [("ada", "bo"), ("bo", "cy"), ("ada", "cy")]
    given: list[dict[str, Any]] = []
    columns: dict[str, list[float]] = {name: [] for name in ("ada", "bo", "cy")}
    for number, (one, two) in enumerate(TABLE):
        first, second = names[number % 3]
        given.append({first: decided(one), second: decided(two)})
        for name, column in columns.items():
            column.append({first: int(one), second: int(two)}.get(name, float("nan")))
    whole = found(given, "Annotation", "accepted")
    by_package = krippendorff.alpha([*columns.values()], level_of_measurement="nominal")
    assert whole.alpha.value == pytest.approx(by_package)
    assert whole.kappa.value == pytest.approx(0.4)


def test_few_papers_give_no_interval() -> None:
    given = [{"ada": decided(True), "bo": decided(n > 1)} for n in range(4)]
    whole = found(given, "Annotation", "accepted")
    assert whole.kappa.low is None
    assert whole.kappa.why == "no interval from fewer than 10 papers"
    assert found([], "Annotation", "accepted").kappa.why == "n/a, no paper has two decisions"


def test_the_command(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.annotations(row(1), row(2), row(3))
    ada, bo = (workspace.desk(name, double=1.0) for name in ("ada", "bo"))
    for at in range(3):
        assert (ada.next(), bo.next()) == (at, at)
        ada.accept(at)
        if at != 2:
            bo.edit(at, "method", f"Bo's {at}.")
            bo.accept(at)
    assert len(rated(bo.papers, bo.log)) == 2
    result: Any = show_agreement(workspace.call(), workspace.agent, workspace.gold)
    check_output(Curate(), "", result)
    assert result.text.startswith("2 papers with two decisions; 2 disputed, 1 wait for a second")
    assert result.summary["reviewers"] == ["ada", "bo"]
    [method] = [
        one
        for one in result.summary["agreement"]
        if (one["what"], one["judged"]) == ("Method", "kept")
    ]
    assert method["same"]["count"] == 0
    assert method["kappa"]["value"] == 0.0
    app = fake_app(tmp_path)
    app.dispatch(f"/curate {workspace.agent} --agreement --review save to {workspace.gold}")
    assert "2 papers with two decisions" in app.screen.err.getvalue()  # type: ignore[attr-defined]


def test_a_published_example_of_unitizing_alpha() -> None:
    """Krippendorff (2004), Content Analysis, p. 254: 150 to 450, two observers, categories c, k."""

    def units(*given: tuple[int, int]) -> list[tuple[int, int]]:
        return [(begin - 150, begin - 150 + length) for begin, length in given]

    c = disagreements(
        [units((225, 70), (370, 30)), units((220, 80), (355, 20), (400, 20))], length=300
    )
    k = disagreements([units((180, 60), (300, 50))] * 2, length=300)
    assert c == (pytest.approx(0.0144, abs=5e-5), pytest.approx(0.0532, abs=5e-5))
    assert k == (0, pytest.approx(0.0490, abs=5e-5))
    assert 1 - c[0] / c[1] == pytest.approx(0.7286, abs=5e-5)
    assert 1 - (c[0] + k[0]) / (c[1] + k[1]) == pytest.approx(0.8591, abs=5e-4)
    assert disagreements([[], []], 10) == (0, 0)
    with_gap = disagreements([[(2, 4)], []], 10)  # the whole unit is in a gap
    assert with_gap[0] == 2 * 2**2 / (2 * 10**2)


def test_passages_are_compared(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.annotations(row(1), row(2))
    ada, bo = (workspace.desk(name, double=1.0) for name in ("ada", "bo"))
    abstract = ada.papers[0].paper.abstract
    claim = [0, len("Plans of agents break in many ways.")]
    for one, spans in ((ada, [claim]), (bo, [[0, len("Plans of agents")], [6, 15]])):
        for at in range(2):
            one.next()
            one.anchor(at, "claim", spans)
            one.anchor(at, "scope", [[abstract.index("On PlanBench"), len(abstract)]])
            one.edit(at, "novelty", "Not stated.")
            one.accept(at)
    found = {one.what: one for one in passage_agreement(ada.papers, bo.log, ada.framework)}
    # bo's passages overlap, and are three of the seven words of ada's passage.
    assert (found["Claim"].papers, found["Claim"].f1) == (2, pytest.approx(2 * 3 / 10))
    assert 0 < found["Claim"].alpha < 1
    assert (found["Scope"].f1, found["Scope"].alpha) == (1, 1)
    assert (found["Novelty"].papers, found["Novelty"].f1, found["Novelty"].alpha) == (0, None, None)
    assert found["Claim"].f1 < found["All moves"].f1 < 1
    assert found["All moves"].papers == 2
    result: Any = show_agreement(workspace.call(), workspace.agent, workspace.gold)
    check_output(Curate(), "", result)
    assert "unitizing alpha" in result.text
    assert [one["what"] for one in result.summary["passages"]] == list(found)


def test_a_paper_counts_in_all_moves_if_any_move_has_a_passage(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.annotations(row(1), row(2))
    ada, bo = (workspace.desk(name, double=1.0) for name in ("ada", "bo"))
    for one in (ada, bo):
        for at, stated in enumerate(("claim", "scope")):
            one.next()
            for move in one.framework.names:
                if move != stated:
                    one.edit(at, move, "Not stated.")
            one.anchor(at, stated, [[0, 5]])
            one.accept(at)
    found = {one.what: one.papers for one in passage_agreement(ada.papers, bo.log, ada.framework)}
    assert (found["Claim"], found["Scope"], found["All moves"]) == (1, 1, 2)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The place of cy, where ada and bo have other claims."""
    workspace = Workspace(tmp_path)
    workspace.annotations(row(1))
    for name, claim in (("bo", "Plans break."), ("ada", "Plans break in many ways.")):
        one = workspace.desk(name, double=1.0)
        one.edit(0, "claim", claim)
        one.accept(0)
    return workspace.desk("cy")


def test_reviewers_are_in_the_order_of_their_names(desk: Desk) -> None:
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    assert list(map(outline, dispute.decisions)) == [
        "ada accepted, 1 edited",
        "bo accepted, 1 edited",
    ]
    assert [row.move.name for row in dispute.rows if row.differs] == ["claim"]
    assert dispute.to_choose == dispute.rows[0]


def test_each_side_is_the_whole_text_with_what_the_other_lacks_marked(desk: Desk) -> None:
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    ada, bo = (dispute.rows[0].side(place) for place in (0, 1))
    assert "".join(one.text for one in ada) == "Plans break in many ways."
    assert [one.text for one in ada if one.kind == "added"] == ["in many ways"]
    assert "".join(one.text for one in bo) == "Plans break."


def test_choices_are_those_of_one_reviewer_and_end_with_the_decision(desk: Desk) -> None:
    desk.draft(0, "claim", "Plans break.")
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    assert dispute.choices == {"claim": "Plans break."}
    assert dispute.settled(dispute.choices)[0] == {**MOVES, "claim": "Plans break."}
    desk.resolve(0, *dispute.settled({"claim": "Neither."}))
    assert dispute_at(desk, 0) is None
    assert desk.drafts(0) == {}


def test_a_move_that_differs_needs_a_choice(desk: Desk) -> None:
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    with pytest.raises(UsageError, match="no text of Claim is chosen"):
        dispute.settled({})


def test_passages_are_those_of_any_reviewer_with_the_chosen_text() -> None:
    decisions: list[Any] = [decided(True, claim=claim) for claim in ("One.", "Two.", "Two.")]
    for one, anchors in zip(decisions, ({}, {}, {"claim": [[0, 5]]}), strict=True):
        one.anchors = anchors
    rows = tuple(
        Row(number, move, tuple(one.moves[move.name] for one in decisions), None)
        for number, move in enumerate(nanda().moves, start=1)
    )
    dispute = Dispute(tuple(decisions), rows)
    assert dispute.settled({"claim": "Two."})[1] == {"claim": [[0, 5]]}
    assert dispute.settled({"claim": "One."})[1] == {}


def test_choices_do_not_become_edits_of_an_undone_decision(desk: Desk) -> None:
    desk.reviewer = "ada"
    desk.draft(0, "claim", "Neither.")
    desk.undo()
    assert desk.drafts(0) == {}
    assert desk.moves(0)["claim"] == "Plans break in many ways."
    desk.accept(0)


def test_an_unfinished_edit_does_not_become_a_choice(desk: Desk) -> None:
    desk.reviewer = "ada"
    desk.undo()
    desk.draft(0, "claim", "Half a")
    desk.reject(0)
    dispute = dispute_at(desk, 0)
    assert dispute is not None
    assert dispute.choices == {}
