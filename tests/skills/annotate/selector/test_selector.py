import numpy as np
import pytest

from skills.annotate.selector import selector
from skills.nanda.framework import Framework, nanda

ABSTRACT = [
    "Existing planners wait for approval of every step, which wastes hours.",
    "We propose Tortoise, a novel planner that asks only before risky steps.",
    "Experiments on 412 tasks show that it reduces the waiting time by 48%.",
    "However, our approach is limited to commands that do not use the network.",
]


def test_the_shipped_selector_finds_sentences():
    found = selector.probabilities(ABSTRACT)
    assert tuple(found) == nanda().names
    assert all(abs(sum(one) - 1) < 1e-6 and len(one) == 5 for one in found.values())
    likely = {move: max(range(1, 5), key=one.__getitem__) for move, one in found.items()}
    assert likely["claim"] == 2
    assert likely["evidence"] == 3
    assert likely["limitation"] == 4
    assert found["evidence"][0] < 0.5


def test_an_abstract_without_sentences_states_nothing():
    assert selector.load().probabilities(np.zeros((0, 1152)))["claim"] == [1.0]


def test_the_shipped_file_is_small_and_for_the_encoder():
    assert selector.WEIGHTS.stat().st_size < 2_000_000
    shipped = selector.load()
    assert shipped.moves == nanda().names
    shape = len(nanda().names), selector.described(ABSTRACT).shape[1]
    assert shipped.sentence.shape == shipped.unstated.shape == shape


def test_a_sentence_is_described_by_what_precedes_it():
    together, alone = selector.described(ABSTRACT), selector.described(ABSTRACT[1:])
    assert np.allclose(selector.described(ABSTRACT[:2]), together[:2], rtol=0.02, atol=0.02)
    assert not np.allclose(alone, together[1:], rtol=0.1, atol=0.1)


def test_probabilities_follow_the_weights():
    weights = np.array([[np.log(2), 0.0]])
    made = selector.Selector(("claim",), weights, np.zeros((1, 2)), np.array([0.0]))
    found = made.probabilities(np.array([[1.0, 5.0], [0.0, 7.0]]))
    assert np.allclose(found["claim"], [0.25, 0.5, 0.25])


def test_not_stated_follows_the_mean_and_the_bias():
    weights, bias = np.array([[0.0, np.log(2)]]), np.array([np.log(2)])
    made = selector.Selector(("claim",), np.zeros((1, 2)), weights, bias)
    found = made.probabilities(np.array([[1.0, 0.0], [0.0, 2.0]]))
    assert np.allclose(found["claim"], [2 / 3, 1 / 6, 1 / 6])


def test_the_selector_is_for_the_built_in_moves():
    texts = nanda().model_dump()
    assert selector.is_for(Framework.model_validate({**texts, "instructions": "Find them."}))
    texts["moves"][0]["definition"] = "the first word"
    assert not selector.is_for(Framework.model_validate(texts))


@pytest.mark.parametrize(
    "limitation", ["It was tested on quays of concrete only.", "Frozen harbours are not included."]
)
def test_a_limitation_without_a_cue_phrase_is_found(limitation):
    abstract = [
        "Pilots of small harbours depend on tables of the tide.",
        "We present Tidemark, a method that reads the water line from a webcam.",
        "On 14 harbours over one year, its median error is 4 cm.",
        limitation,
        "Operators could thereby publish tables for the price of a camera.",
    ]
    likely = selector.probabilities(abstract)["limitation"]
    assert max(range(1, 6), key=likely.__getitem__) == 4
