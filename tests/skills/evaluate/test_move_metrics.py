"""The figures of /evaluate, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from evaluate_workspace import FACTS, annotator_of

from skills.annotate.plan import from_papers
from skills.evaluate import measures, move_metrics
from skills.evaluate.annotators import (
    LEAD,
    Subject,
    lead,
    other,
)
from skills.evaluate.measures import Measures
from skills.evaluate.move_metrics import statistics
from skills.evaluate.outputs import OVERALL
from skills.evaluate.report_text import figure
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper, own_id
from skills.reporting.statistics import (
    Resamples,
    Sampled,
    Statistic,
    difference,
    estimate,
    kappa,
    ratio,
)

NOT = nanda().not_stated
ABSTRACTS = (
    "Sorting papers is slow. We present Sorter, which sorts 40 papers a minute. It needs no GPU.",
    "Bees dance to tell their nests apart. We film 12 hives and count dances by hand.",
    "Old bridges creak in strong wind. A cheap sensor hears it and warns the town.",
)


def paper(abstract: str) -> Paper:
    return Paper("id", own_id(abstract), "", abstract)


def moves(**texts: str) -> dict[str, str]:
    return {name: texts.get(name, NOT) for name in nanda().names}


def value_of(statistic: Statistic) -> float:
    return float(statistic.value(statistic.sums.sum(axis=0, keepdims=True))[0])


def of(draws: Resamples, statistic: Statistic) -> Sampled:
    return draws.of_all({"": statistic})[""]


def flags(text: str) -> np.ndarray:
    return np.array([char == "1" for char in text])


def test_a_ratio_is_the_ratio_of_sums():
    found = ratio(np.array([1.0, 0.5, 9.0]), np.array([1.0, 2.0, 0.0]))
    assert value_of(found) == pytest.approx(10.5 / 3)
    assert list(found.counted) == [True, True, False]


def test_a_ratio_of_columns_is_the_mean_of_their_ratios():
    over = np.array([[0.5, 0.0], [0.3, 0.0]])
    under = np.array([[1, 0], [1, 0]])
    assert value_of(ratio(over, under, empty=0.0)) == pytest.approx(0.2)
    assert np.isnan(value_of(ratio(over, under)))


@pytest.mark.parametrize(
    ("predicted", "gold", "expected"),
    [
        # 20 and 15 of 50 agree, 5 and 10 do not: Cohen's kappa is 0.4.
        ("1" * 20 + "1" * 5 + "0" * 10 + "0" * 15, "1" * 20 + "0" * 5 + "1" * 10 + "0" * 15, 0.4),
        ("1100", "1100", 1.0),
        ("1100", "0011", -1.0),
        ("1111", "1100", 0.0),
    ],
)
def test_kappa(predicted, gold, expected):
    assert value_of(kappa(flags(predicted), flags(gold))) == pytest.approx(expected)


def test_kappa_is_undefined_where_both_always_say_the_same():
    found = of(Resamples(6, 50), kappa(flags("111111"), flags("111111")))
    assert estimate(found).model_dump() == {
        "value": None,
        "low": None,
        "high": None,
        "papers": 6,
        "why": "undefined",
    }


def test_the_interval_is_that_of_the_mean():
    values = np.arange(100, dtype=float)
    found = estimate(of(Resamples(100), ratio(values, np.ones(100))))
    error = values.std() / 10  # the standard error of a mean of 100 values
    assert found.value == pytest.approx(49.5)
    assert found.low == pytest.approx(49.5 - 1.96 * error, abs=0.3)
    assert found.high == pytest.approx(49.5 + 1.96 * error, abs=0.3)
    assert found == estimate(of(Resamples(100), ratio(values, np.ones(100))))


def test_a_difference_is_paired_by_paper():
    draws, values = Resamples(40), np.linspace(0, 1, 40)
    ones = np.ones(40)
    gain = np.tile([0.09, 0.11], 20)  # nearly the same gain for every paper
    better, worse = of(draws, ratio(values + gain, ones)), of(draws, ratio(values, ones))
    found = difference(better, worse)
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 - 1.96 * 0.01 / 40**0.5, abs=0.001)
    assert found.high == pytest.approx(0.1 + 1.96 * 0.01 / 40**0.5, abs=0.001)


def test_a_difference_needs_enough_papers_on_both_sides():
    draws, values = Resamples(9, 100), np.linspace(0, 1, 9)
    many, five, four = (of(draws, ratio(values, np.arange(9) < n)) for n in (9, 5, 4))
    assert difference(many, five).low is not None
    for found in (difference(many, four), difference(four, many)):
        assert found.value is not None
        assert (found.low, found.high, found.papers) == (None, None, 9)
        assert "fewer than 5 papers" in found.why


def test_there_is_no_interval_where_all_resamples_are_alike():
    draws, values, ones = Resamples(40, 100), np.linspace(0, 1, 40), np.ones(40)
    better, worse = of(draws, ratio(values + 0.1, ones)), of(draws, ratio(values, ones))
    for found, value in (
        (difference(better, worse), 0.1),  # equal except for rounding
        (difference(worse, worse), 0.0),
        (estimate(of(draws, ratio(ones, ones))), 1.0),
    ):
        assert found.value == pytest.approx(value)
        assert (found.low, found.high, found.papers) == (None, None, 40)
        assert "the same in all resamples" in found.why
        assert figure(found, signed=True) == f"{value:+.3f}"


def test_resamples_without_a_value_count_beyond_either_end():
    drawn = np.concatenate([np.full(10, np.nan), np.arange(990.0)])
    found = estimate(Sampled(500.0, drawn, flags("1" * 60)))
    # 25 of 1,000 resamples are below the interval: 15 with a value, and 10 without a value.
    assert found.low == pytest.approx(15, abs=0.1)
    assert found.high == pytest.approx(974, abs=0.1)


def test_a_kappa_of_three_papers_does_not_differ_from_none():
    draws, gold = Resamples(60), flags("0" * 3 + "1" * 57)
    model = of(draws, kappa(flags("0" * 8 + "1" * 52), gold))
    # The kappa is undefined in a resample without any of the three papers.
    nothing = of(draws, kappa(flags("1" * 60), gold))
    assert estimate(model).low == pytest.approx(0.0, abs=1e-9)
    found = difference(model, nothing)
    assert found.value == pytest.approx(0.51, abs=0.01)
    assert (found.low, found.high) == (None, None)
    assert "undefined in 4." in found.why


def test_a_share_of_all_papers_has_an_interval():
    found = estimate(of(Resamples(60), ratio(flags("1" * 60), flags("1" * 60))))
    assert (found.value, found.papers) == (1.0, 60)
    assert found.low == pytest.approx(60 / (60 + 1.96**2), abs=1e-4)  # Wilson's bound, 60 of 60
    assert found.high == pytest.approx(1.0)


def test_few_papers_give_a_value_without_an_interval():
    found = estimate(of(Resamples(3, 100), ratio(np.array([0.2, 0.4, 0.6]), np.ones(3))))
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.papers) == (None, 3)
    assert "fewer than 5 papers" in found.why


def test_rouge_l_is_that_of_its_package_with_stemmer():
    # After stemming: "the model were evalu on three benchmark" (7 words) and "we evalu the model on
    # 3 benchmark task" (8); "the model on benchmark" is common: F1 = 2 * 4 / (7 + 8).
    found = measures.rouge_l(
        "The models were evaluated on three benchmarks.",
        "We evaluate the model on 3 benchmark tasks",
    )
    assert found == pytest.approx(8 / 15)
    assert measures.rouge_l("nothing alike", "Sorting papers") == 0.0


def test_chrf_is_between_0_and_1():
    assert measures.chrf("A cat sat.", "A cat sat.") == pytest.approx(1.0)
    assert measures.chrf("xyz", "A cat sat.") == 0.0
    assert 0 < measures.chrf("The cat sat.", "A cat sat.") < 1


GOLD = (
    moves(claim="Sorting papers is slow.", method="Sorter sorts 40 papers a minute."),
    moves(claim="Bees dance to tell nests apart.", evidence="12 hives are filmed."),
    moves(claim="Old bridges creak in wind."),
)
GIVEN = (
    # The claim word for word, a method with a number that is not there, and a move too many.
    moves(
        claim="Sorting papers is slow.",
        method="Sorter sorts 50 papers a minute.",
        scope="It needs no GPU.",
    ),
    moves(claim="Whales sing in the deep sea."),
    None,
)
SUBJECT = Subject(from_papers("bees", [paper(text) for text in ABSTRACTS]), nanda(), GOLD)


@pytest.fixture(scope="module")
def found():
    again = [{"seeds": [GIVEN[0]] * 2, "prompts": [GIVEN[0]] * 2}, None, None]
    annotator = annotator_of(
        "given",
        GIVEN,
        FACTS,
        valid=[True, False, False],
        valid_freely=[False, False, False],
        tokens=[(100, 30), (200, 50), None],
        again=again,
    )
    return statistics(annotator, SUBJECT, Measures())


def test_stated_or_not_against_gold(found):
    # The annotator states 4 moves, and the gold states 5; 3 moves are stated by both.
    assert value_of(found["stated", OVERALL]) == pytest.approx(4 / 24)
    assert value_of(found["precision", OVERALL]) == pytest.approx(3 / 4)
    assert value_of(found["recall", OVERALL]) == pytest.approx(3 / 5)
    assert value_of(found["recall", "claim"]) == pytest.approx(2 / 3)
    # The annotator and the gold agree on 21 of 24 moves; they state 4 and 5 moves.
    chance = (4 * 5 + 20 * 19) / 24**2
    expected = (21 / 24 - chance) / (1 - chance)
    assert value_of(found["kappa", OVERALL]) == pytest.approx(expected)
    assert value_of(found["kappa", "evidence"]) == pytest.approx(0.0)


def test_rouge_l_is_over_the_papers_where_both_state_the_move(found):
    whales = measures.rouge_l(GIVEN[1]["claim"], GOLD[1]["claim"])
    method = measures.rouge_l(GIVEN[0]["method"], GOLD[0]["method"])
    assert method == pytest.approx(5 / 6)
    assert value_of(found["rouge_l", "claim"]) == pytest.approx((1 + whales) / 2)
    assert value_of(found["rouge_l", "scope"]) == 0.0
    assert value_of(found["rouge_l", OVERALL]) == pytest.approx(((1 + whales) / 2 + method) / 8)
    assert found["rouge_l", "claim"].counted.sum() == 2
    assert found["rouge_l", OVERALL].counted.sum() == 2


def test_the_agreement_of_a_paper_counts_what_only_one_states(found):
    method = 5 / 6
    whales = measures.rouge_l(GIVEN[1]["claim"], GOLD[1]["claim"])
    first = (1 + method + 0) / 3  # only one of them states the scope
    second = (whales + 0) / 2
    assert list(found["agreement", OVERALL].sums[:, 0]) == pytest.approx([first, second, 0.0])


def test_two_annotations_that_state_nothing_agree():
    nothing = Subject(from_papers("one", SUBJECT.papers[:1]), nanda(), [moves()])
    of_it = statistics(annotator_of("silent", [moves()]), nothing, Measures())
    assert value_of(of_it["agreement", OVERALL]) == 1.0


def test_faithfulness(found):
    assert value_of(found["numbers", OVERALL]) == pytest.approx(3 / 4)  # 50 is not in the abstract
    assert value_of(found["numbers", "method"]) == 0.0
    # The abstract has all content words of one claim, and none of another.
    assert value_of(found["support", "claim"]) == pytest.approx(0.5)
    assert value_of(found["floor", "claim"]) == 0.0
    # One of the two claims is a passage of the abstract.
    assert value_of(found["copied", "claim"]) == pytest.approx(0.5)
    assert value_of(found["names", OVERALL]) == 1.0


def test_the_overlap_is_the_highest_of_a_move_to_another(found):
    texts = ("Bees dance.", "Bees dance quickly.", "Nests lie apart.")
    three = moves(claim=texts[0], method=texts[1], novelty=texts[2])
    three_papers = [three, moves(claim=texts[0]), moves()]
    of_it = statistics(
        annotator_of("three", three_papers), Subject(SUBJECT.source, nanda()), Measures()
    )
    # The F1 of two common words: 2 of 2 words of one move, and 2 of 3 words of the other.
    assert value_of(of_it["overlap", "claim"]) == pytest.approx(4 / 5)
    assert value_of(of_it["overlap", "novelty"]) == 0.0
    assert value_of(of_it["overlap", OVERALL]) == pytest.approx(4 / 5)
    assert list(of_it["overlap", OVERALL].counted) == [True, False, False]


def consistency_of(*again: list[dict[str, str] | None] | None):
    papers = [paper(text) for text in ABSTRACTS[: len(again)]]
    subject = Subject(from_papers("again", papers), nanda())
    given = [None if one is None else {"seeds": one} for one in again]
    annotator = annotator_of("given", [moves()] * len(again), FACTS, again=given)
    return statistics(annotator, subject, Measures())


def test_consistency_is_the_mean_over_pairs_of_answers():
    one, other = moves(claim="Bees dance."), moves(claim="Bees dance quickly.")
    both = moves(claim="Bees dance.", scope="Bees.")
    of_it = consistency_of([one, other, both], [one, one, one], None)
    alike = (4 / 5 + 1 / 2 + (4 / 5 + 0) / 2) / 3  # the first paper: mean of three pairs
    assert value_of(of_it["seeds", OVERALL]) == pytest.approx((alike + 1) / 2)
    assert value_of(of_it["seeds_stated", OVERALL]) == pytest.approx(((1 + 7 / 8 * 2) / 3 + 1) / 2)
    assert list(of_it["seeds", OVERALL].counted) == [True, True, False]


def test_a_missing_annotation_agrees_with_no_other():
    one = moves(claim="Bees dance.")
    of_it = consistency_of([None, None, None], [one, one, None])
    assert value_of(of_it["seeds", OVERALL]) == pytest.approx((0 + 1 / 3) / 2)
    assert value_of(of_it["seeds_stated", OVERALL]) == pytest.approx((0 + 1 / 3) / 2)


@pytest.mark.parametrize("count", [3, 4, 5, 60])
def test_the_floor_uses_another_paper_than_the_baseline(count):
    words = [f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(count)]
    papers = [paper(f"We study {word} at length here.") for word in words]
    annotations = [moves(claim=f"We study {word}.") for word in words]
    for each in (annotations, other(annotations).annotations):
        found = statistics(
            annotator_of("one", each), Subject(from_papers("words", papers), nanda()), Measures()
        )
        assert value_of(found["floor", "claim"]) == pytest.approx(0.5)  # only "study" is common


def test_answers(found):
    assert value_of(found["valid", OVERALL]) == pytest.approx(1 / 3)
    assert value_of(found["valid_freely", OVERALL]) == 0.0
    assert value_of(found["prompt_tokens", OVERALL]) == pytest.approx(150)
    assert value_of(found["completion_tokens", OVERALL]) == pytest.approx(40)


def test_every_metric_has_a_meaning(found):
    assert {metric for metric, _ in found} == set(move_metrics.METRICS)


def test_lead_sentences_are_given_to_the_moves_in_order():
    found = lead(SUBJECT.papers, nanda())
    assert found.name == LEAD
    assert found.annotations[1] == moves(
        claim="Bees dance to tell their nests apart.",
        evidence="We film 12 hives and count dances by hand.",
    )


def test_another_papers_annotation_is_never_the_papers_own():
    for count in range(2, 9):
        texts = [moves(claim=str(i)) for i in range(count)]
        found = other(texts)
        assert sorted(m["claim"] for m in found.annotations) == [str(i) for i in range(count)]
        assert all(m["claim"] != str(i) for i, m in enumerate(found.annotations))
