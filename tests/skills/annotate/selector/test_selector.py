import numpy as np

from skills.annotate.selector import selector
from skills.annotate.selector.features import DIMENSIONS
from skills.nanda.framework import Framework, nanda

ABSTRACT = [
    "Existing planners wait for approval of every step, which wastes hours.",
    "We propose Tortoise, a novel planner that asks only before risky steps.",
    "Experiments on 412 tasks show that it reduces the waiting time by 48%.",
    "However, our approach is limited to commands that do not use the network.",
]


def test_the_shipped_selector_finds_sentences():
    found = selector.load().probabilities(ABSTRACT)
    assert tuple(found) == nanda().names
    assert all(abs(sum(one) - 1) < 1e-6 and len(one) == 5 for one in found.values())
    likely = {move: max(range(1, 5), key=one.__getitem__) for move, one in found.items()}
    assert likely["claim"] == 2
    assert likely["evidence"] == 3
    assert likely["limitation"] == 4
    assert found["evidence"][0] < 0.5


def test_an_abstract_without_sentences_states_nothing():
    assert selector.load().probabilities([])["claim"] == [1.0]


def test_the_shipped_file_is_small():
    assert selector.WEIGHTS.stat().st_size < 2_000_000
    assert set(map(len, selector.load().weights.values())) == {DIMENSIONS}


def test_probabilities_follow_the_weights():
    weights = {"claim": np.zeros(DIMENSIONS, dtype=np.float32)}
    assert selector.Selector(weights, "").probabilities(ABSTRACT)["claim"] == [0.2] * 5


def test_the_selector_is_for_the_built_in_moves():
    texts = nanda().model_dump()
    assert selector.is_for(Framework.model_validate({**texts, "instructions": "Find them."}))
    texts["moves"][0]["definition"] = "the first word"
    assert not selector.is_for(Framework.model_validate(texts))
