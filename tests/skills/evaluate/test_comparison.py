"""--against: a comparison with a saved evaluation, paired by paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluate_workspace import ABSTRACT, FACTS, Workspace, annotator_of, gold, row

from harness.errors import InputError, UsageError
from harness.models.backend import Request
from harness.runs.frontend import Outcome
from skills.annotate.plan import from_papers
from skills.evaluate import comparison, inputs
from skills.evaluate.annotators import LEAD, OTHER, Annotator, Subject
from skills.evaluate.outputs import Difference, Evaluation, Outcomes
from skills.evaluate.report_text import regressions
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper
from skills.reporting.statistics import Figure, unpaired_difference

NOT = nanda().not_stated
EARLIER = "producer (old.json)"


def worse(request: Request | None = None) -> str:
    """Return an annotation in which the claim is not the gold's and no method is stated."""
    return json.dumps({**gold(1), "claim": "Heaps are high everywhere.", "method": NOT})


def annotator(name: str, bad: int) -> Annotator:
    """Return a model whose annotation of the first papers is worse, and of the last is missing."""
    moves = [json.loads(worse()) if n < bad else gold(n) for n in range(7)]
    given = [*moves, None]
    again = [
        {"seeds": [given[n]] * 3, "prompts": [given[::-1][n]] * 4} if n < 3 else None
        for n in range(8)
    ]
    facts = {
        **FACTS,
        "model": name,
        "slots": 2,
        "failed": {"InvalidReply": 1},
        "speed": {"papers_per_minute": 12.0, "papers": 8, "memory": None},
    }
    return annotator_of(
        name,
        given,
        facts,
        valid_freely=[n > bad for n in range(8)],
        tokens=[*((100, n) for n in range(7)), None],
        again=again,
    )


@pytest.fixture
def old(space: Workspace) -> Path:
    """An evaluation of 12 papers, answered with their gold."""
    space.write([row(number) for number in range(1, 13)])
    space.evaluate("--models producer --unconstrained --consistency 2 save to old.json")
    return space.folder / "old.json"


def anew(space: Workspace, rest: str = "") -> Outcome:
    """Evaluate the same model in an empty corpus, so that it answers again."""
    return space.evaluate(f"--db other.db --models producer --against old.json {rest}")


def edit(path: Path, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps(found), encoding="utf-8")
    return found


@pytest.mark.usefixtures("old")
def test_an_evaluation_is_compared_with_itself(space: Workspace) -> None:
    found = anew(space, "--unconstrained --consistency 2 --fail-on-regression").result
    first, earlier = found.data["annotators"][:2]
    assert (earlier["name"], earlier["kind"]) == (EARLIER, "stored")
    assert earlier["metrics"] == first["metrics"]
    assert found.data["differences"][0]["papers"] == {
        "score": "agreement",
        "win": 0,
        "tie": 12,
        "loss": 0,
    }
    assert found.data["regressions"] == []
    assert found.code == 0
    assert found.text.startswith(
        "12 papers are too few to decide between producer and producer (old"
    )


@pytest.mark.usefixtures("old")
def test_a_worse_model_is_a_regression(space: Workspace) -> None:
    space.model.faults = dict.fromkeys(range(1, 10), worse)
    outcome = anew(space, "--details save to new.html -o new.json")
    assert outcome.result.code == 0, "without --fail-on-regression"
    assert ["rouge_l", "overall"] in outcome.result.data["regressions"]
    assert ["recall", "overall"] in outcome.result.data["regressions"]
    [pair, *others] = outcome.result.data["differences"]
    assert (pair["other"], pair["papers"]["loss"]) == (EARLIER, 9)
    assert [one["other"] for one in others] == [LEAD, OTHER]
    verdict = " ".join(outcome.result.data["verdict"])
    assert "By paper (agreement) 0 won, 3 tied, 9 lost." in verdict
    assert "Worse than before: " in verdict
    text = outcome.result.text
    assert " ".join(text.split()).startswith(verdict), "the verdict comes first"
    page = (space.folder / "new.html").read_text(encoding="utf-8")
    assert "By paper (agreement) 0 won, 3 tied, 9 lost" in page
    assert anew(space, "--fail-on-regression").result.code == 1


def test_a_stored_model_is_measured_like_one_that_is_run(tmp_path: Path) -> None:
    papers = [Paper("id", str(n), "", ABSTRACT.format(n)) for n in range(8)]
    subject = Subject(from_papers("gold.csv", papers), nanda(), [gold(n) for n in range(8)])
    one, other = (annotator(name, bad) for name, bad in (("one", 2), ("other", 5)))
    file = tmp_path / "old.json"
    file.write_text(comparison.of_models(subject, [other]).model_dump_json(), encoding="utf-8")
    earlier = inputs.earlier_model(file, subject, "one")
    found = comparison.of_models(subject, [one], earlier)
    both = comparison.of_models(subject, [one, other])
    assert found.differences[0].metrics == both.differences[0].metrics
    assert found.differences[0].papers == both.differences[0].papers
    assert found.annotators[1].by_paper == both.annotators[1].by_paper
    assert {"seeds", "prompts", "valid_freely"} <= found.annotators[1].metrics.keys()


@pytest.mark.parametrize(
    ("metric", "low", "high", "counts"),
    [
        ("rouge_l", -0.2, -0.1, True),
        ("rouge_l", 0.1, 0.2, False),
        ("rouge_l", -0.1, 0.1, False),
        ("rouge_l", None, None, False),
        ("overlap", 0.1, 0.2, True),
        ("overlap", -0.2, -0.1, False),
        ("copied", -0.2, -0.1, False),
        ("prompt_tokens", 10, 20, False),
    ],
)
def test_a_regression_is_worse_with_an_interval_that_excludes_0(
    metric: str, low: float | None, high: float | None, counts: bool
) -> None:
    value = 0.0 if low is None or high is None else (low + high) / 2
    figure = Figure(value=value, low=low, high=high, papers=60)
    outcomes = Outcomes(score="agreement", win=0, tie=60, loss=0)
    for moves in ("overall", "claim"), ("claim",):
        metrics = {metric: dict.fromkeys(moves, figure)}
        pair = Difference(first="new", other="old", metrics=metrics, papers=outcomes)
        found = Evaluation.model_construct(differences=[pair])
        assert regressions(found) == [(metric, moves[0])] * counts


def test_an_unpaired_interval_is_that_of_independent_figures() -> None:
    first = Figure(value=0.5, low=0.4, high=0.7, papers=60)
    other = Figure(value=0.3, low=0.2, high=0.6, papers=60)
    found = unpaired_difference(first, other)
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - (0.1**2 + 0.3**2) ** 0.5, abs=1e-4)
    assert found.high == pytest.approx(0.2 + (0.2**2 + 0.1**2) ** 0.5, abs=1e-4)
    none = unpaired_difference(first, Figure(value=0.3, papers=60))
    assert (none.value, none.low) == (pytest.approx(0.2), None)
    assert none.why


def refused(space: Workspace, rest: str = "--against old.json") -> str:
    message = space.refused(f"--models producer {rest}", InputError)
    assert "old.json" in message
    return message


@pytest.mark.usefixtures("old")
def test_another_gold_is_refused_with_what_differs(space: Workspace) -> None:
    changed = [{**row(n), "claim": "It is new."} for n in (1, 2)]
    space.write([*changed, *(row(n) for n in range(3, 12)), row(13)])
    asked = dict(space.model.asked)
    message = refused(space)
    assert "another gold: 1 paper of 12 not in it; 1 other paper in it" in message
    assert "other moves for 2 papers" in message
    assert space.model.asked == asked, "refused before a model is run"


def without_annotations(path: Path) -> None:
    """Leave figures alone in the file, as in those beside a published model."""
    found = json.loads(path.read_text(encoding="utf-8"))
    del found["by_paper"]
    for one in found["annotators"]:
        one.pop("by_paper", None)
    path.write_text(json.dumps(found), encoding="utf-8")


def test_a_file_without_annotations_is_compared_by_its_figures(space: Workspace, old: Path) -> None:
    without_annotations(old)
    space.model.faults = dict.fromkeys(range(1, 10), worse)
    outcome = anew(space, "--details save to new.html -o new.json")
    [pair, *_] = outcome.result.data["differences"]
    assert (pair["paired"], pair["papers"]) == (False, None)
    recall = pair["metrics"]["recall"]["overall"]
    assert recall["value"] == pytest.approx((24 - 9) / 24 - 1, abs=1e-4)
    assert "not paired by paper" in " ".join(outcome.result.text.split())
    assert "Not paired by paper" in (space.folder / "new.html").read_text(encoding="utf-8")


def test_figures_of_another_gold_are_refused(space: Workspace, old: Path) -> None:
    without_annotations(old)
    space.write([row(n) | {"limitation": "It fails in fog."} for n in range(1, 13)])
    assert "another gold: figures of the gold itself differ" in refused(space)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "is not an evaluation (input: Field required)"),
        ("[1]", "is not an evaluation"),
    ],
)
def test_another_file_is_refused(space: Workspace, content: str, message: str) -> None:
    (space.folder / "old.json").write_text(content, encoding="utf-8")
    assert message in refused(space)


def test_a_damaged_evaluation_is_refused(space: Workspace, old: Path) -> None:
    found = edit(old)
    del found["annotators"][0]["by_paper"][0]["moves"]["claim"]
    edit(old, annotators=found["annotators"])
    assert "is not an evaluation" in refused(space)
    del found["annotators"][0]["speed"]["papers"]
    edit(old, annotators=found["annotators"])
    assert "(annotators.0.speed.papers: Field required)" in refused(space)


def test_an_answer_to_a_variation_without_a_move_is_refused(space: Workspace, old: Path) -> None:
    found = edit(old)
    del found["annotators"][0]["by_paper"][0]["again"]["seeds"][1]["claim"]
    edit(old, annotators=found["annotators"])
    assert "is not an evaluation (by_paper)" in refused(space)


def test_an_evaluation_of_several_models_needs_the_name(space: Workspace) -> None:
    space.evaluate("--models producer,nanda-annotator save to old.json")
    same = space.evaluate("--models producer --against old.json").result.data
    assert same["differences"][0]["other"] == EARLIER
    edit(
        space.folder / "old.json",
        annotators=[
            {**one, "name": f"my {one['name']}"}
            for one in json.loads((space.folder / "old.json").read_text())["annotators"]
        ],
    )
    message = refused(space)
    assert "has 2 models and none is producer: my producer, my nanda-annotator" in message


def test_other_moves_are_refused(space: Workspace, old: Path) -> None:
    edit(old, framework={"name": "two", "moves": {"claim": "Claim"}})
    assert "was made with other moves: comparison, evidence" in refused(space)


@pytest.mark.usefixtures("old")
def test_a_wrong_use_is_refused(space: Workspace) -> None:
    message = space.refused("--models producer --fail-on-regression")
    assert "--fail-on-regression needs --against FILE" in message
    assert "is the evaluation itself" in space.refused(
        "--models producer --against old.json save to old.json --force"
    )
    with pytest.raises(UsageError, match="there is no such file"):
        space.evaluate("--models producer --against none.json")


def test_labelled_sentences_are_compared_with_an_earlier_evaluation(space: Workspace) -> None:
    space.write_labels()
    line = "/evaluate --csabstruct labels.jsonl --models producer --consistency 0"
    space.app.dispatch(f"{line} save to old.json")
    found = space.app.dispatch(f"{line} --against old.json").result.data
    assert found["differences"][0]["papers"]["tie"] == 6
    space.write_labels(first="objective")
    with pytest.raises(InputError, match="other labels for 1 paper"):
        space.app.dispatch(f"{line} --against old.json")
