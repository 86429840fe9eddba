import numpy as np
import pytest

from harness.models.encoder import Encoded
from skills.annotate.selector import selector
from skills.annotate.selector.candidates import SHAPE, statements_of
from skills.annotate.selector.selector import Likely, Selector
from skills.nanda.framework import Framework, nanda
from skills.nanda.quoting.numbered import numbered

ABSTRACT = (
    "Existing planners wait for approval of every step, which wastes hours. "
    "We propose Tortoise, a novel planner that asks only before risky steps. "
    "Experiments on 412 tasks show that it reduces the waiting time by 48%. "
    "However, our approach is limited to commands that do not use the network."
)
TWO = "Bees sting at noon. Planners wait for rain."
ENCODED = Encoded(np.array([[1.0], [3.0], [0.0], [2.0]]), np.array([4, 16, 24, 36]))
"""Two tokens in each sentence of `TWO`; the width is one."""


def test_the_shipped_selector_finds_sentences():
    found = selector.probabilities(numbered(ABSTRACT))
    assert tuple(found) == nanda().names
    assert all(abs(sum(one) - 1) < 1e-6 and len(one) == 5 for one in found.values())
    likely = {move: max(range(1, 5), key=one.__getitem__) for move, one in found.items()}
    assert likely["claim"] == 2
    assert likely["evidence"] == 3
    assert likely["limitation"] == 4
    assert found["evidence"][0] < 0.5


def test_an_abstract_without_sentences_states_nothing():
    assert selector.probabilities([])["claim"] == [1.0]


def test_the_shipped_files_are_small_and_for_the_encoder():
    files = selector.FOLDER / selector.WEIGHTS, selector.FOLDER / selector.ADAPTER
    assert sum(file.stat().st_size for file in files) < 2_000_000
    shipped, width = selector.load(), len(selector.encoder().encode(["Bees."]).whole())
    assert shipped.moves == nanda().names
    assert shipped.passage.shape == shipped.unstated.shape == (8, width)
    assert shipped.shape.shape == (8, len(SHAPE))


def made(**weights):
    """Return a selector of one move whose other weights are 0."""
    rows = {"passage": 2, "shape": len(SHAPE), "unstated": 2}
    arrays = {name: np.array([weights.get(name, [0.0] * n)]) for name, n in rows.items()}
    return Selector(("claim",), **arrays, bias=np.array([weights.get("bias", 0.0)]))


def likely(selector: Selector) -> Likely:
    return selector.likely(ENCODED, {"claim": statements_of(numbered(TWO), 300)})["claim"]


def test_probabilities_follow_the_mean_and_the_last_token_of_a_passage():
    found = likely(made(passage=[np.log(2), 0.0]))
    assert found.by_sentence() == pytest.approx([1 / 7, 4 / 7, 2 / 7]), "means of 2 and 1"
    found = likely(made(passage=[0.0, np.log(2)]))
    assert found.by_sentence() == pytest.approx([1 / 13, 8 / 13, 4 / 13]), "last tokens 3 and 2"


def test_probabilities_follow_the_shape():
    shape = [0.0] * len(SHAPE)
    shape[SHAPE.index("passage: ends the sentence")] = np.log(3)
    assert likely(made(shape=shape)).unstated == pytest.approx(1 / 7)


def test_not_stated_follows_the_abstract_and_the_bias():
    assert likely(made(bias=np.log(6))).by_sentence() == pytest.approx([0.75, 0.125, 0.125])
    found = likely(made(unstated=[np.log(2), np.log(3)]))
    power = 2**1.5 * 3**2
    assert found.unstated == pytest.approx(power / (power + 2)), "the mean 1.5, the last token 2"


def test_the_selector_is_for_the_built_in_moves():
    texts = nanda().model_dump()
    assert selector.is_for(Framework.model_validate({**texts, "instructions": "Find them."}))
    texts["moves"][0]["definition"] = "the first word"
    assert not selector.is_for(Framework.model_validate(texts))


@pytest.mark.parametrize(
    "limitation", ["It was tested on quays of concrete only.", "Frozen harbours are not included."]
)
def test_a_limitation_without_a_cue_phrase_is_found(limitation):
    abstract = (
        "Pilots of small harbours depend on tables of the tide. "
        "We present Tidemark, a method that reads the water line from a webcam. "
        "On 14 harbours over one year, its median error is 4 cm. "
        f"{limitation} "
        "Operators could thereby publish tables for the price of a camera."
    )
    found = selector.probabilities(numbered(abstract))["limitation"]
    assert max(range(1, 6), key=found.__getitem__) == 4
