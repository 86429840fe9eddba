import pytest

from skills.annotate.anchored.mixture import Mixture


def test_probabilities_are_mixed():
    mixture = Mixture(weight=0.75)
    mixed = mixture.mixed([0.2, 0.8, 0.0], [0.6, 0.0, 0.4])
    assert mixed == pytest.approx([0.3, 0.6, 0.1])


def test_the_most_probable_sentence_is_chosen_below_the_threshold():
    assert Mixture(threshold=0.5).choice([0.49, 0.2, 0.31]) == 2
    assert Mixture(threshold=0.4).choice([0.49, 0.2, 0.31]) == 0
    assert Mixture(threshold=0.5).choice([0.45, 0.2, 0.2, 0.15]) == 1


def test_an_abstract_without_sentences_states_nothing():
    assert Mixture(threshold=2).choice([1.0]) == 0
