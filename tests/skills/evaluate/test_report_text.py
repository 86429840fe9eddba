"""The verdict of a comparison: who is better at what, as far as the intervals show it."""

from __future__ import annotations

from skills.evaluate import report_text
from skills.evaluate.outputs import Difference, Evaluated, Evaluation, Outcomes
from skills.evaluate.report_text import verdict
from skills.reporting.statistics import Figure


def figure(value: float, low: float | None, high: float | None) -> Figure:
    return Figure(value=value, low=low, high=high, papers=40)


def found(papers: int = 40, **metrics: Figure) -> Evaluation:
    names = ("small", "large", "lead sentences")
    return Evaluation(
        input="gold.csv",
        against="gold",
        papers=papers,
        framework={"moves": {}},
        metrics=dict.fromkeys(metrics, "what it is"),
        gold=None,
        annotators=[
            Evaluated(name=name, kind="baseline" if name == names[2] else "model", metrics={})
            for name in names
        ],
        differences=[
            Difference(
                first="small",
                other=other,
                metrics={name: {"overall": one} for name, one in metrics.items()},
                papers=Outcomes(score="agreement", win=0, tie=papers, loss=0),
            )
            for other in names[1:]
        ],
    )


def test_the_better_and_the_worse_metrics_are_named() -> None:
    [sentence] = verdict(
        found(
            kappa=figure(0.1, -0.05, 0.2),
            rouge_l=figure(0.21, 0.15, 0.27),
            valid=figure(-0.1, -0.2, -0.01),
            completion_tokens=figure(-30, -40, -20),
            stated=figure(0.3, 0.2, 0.4),
        )
    )
    assert sentence == (
        "Compared with large on 40 papers, small is better at ROUGE-L (macro) (+0.210), tokens: "
        "answer (-30), and worse at first answer valid (-0.100): these intervals exclude 0. No "
        "difference is shown in kappa, all moves."
    )


def test_without_a_difference_it_says_so() -> None:
    [sentence] = verdict(found(kappa=figure(0.1, None, None), rouge_l=figure(0.2, -0.1, 0.4)))
    assert sentence == (
        "No difference between small and large is shown on 40 papers: no interval excludes 0."
    )


def test_few_papers_do_not_decide_and_what_is_ahead_so_far_is_named() -> None:
    unclear = {"kappa": figure(0.6, None, None), "rouge_l": figure(0.25, -0.1, 0.4)}
    few = found(4, **unclear, chrf=figure(-0.1, None, None), valid=figure(0.0, None, None))
    assert verdict(few)[0] == (
        "4 papers are too few to decide between small and large (no interval excludes 0). So far "
        "small is ahead in ROUGE-L (macro), kappa, all moves."
    )
    assert verdict(found(1, kappa=figure(-0.6, None, None)))[0] == (
        "1 paper is too few to decide between small and large (no interval excludes 0). So far "
        "small is ahead in no metric."
    )


def test_a_model_alone_is_compared_with_the_baselines() -> None:
    one = found(rouge_l=figure(0.2, 0.1, 0.4))
    del one.annotators[1]
    assert [sentence.split(" on ")[0] for sentence in verdict(one)] == [
        "Compared with large",
        "Compared with lead sentences",
    ]


def test_many_metrics_are_counted() -> None:
    names = ("kappa", "valid", "chrf", "numbers", "names", "support")
    [sentence] = verdict(found(**{name: figure(0.2, 0.1, 0.3) for name in names}))
    assert "and 2 more: these intervals" in sentence
    assert report_text.NAMES["chrf"] in sentence
