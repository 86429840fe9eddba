from skills.annotate.selector.features import DIMENSIONS, candidates

SENTENCES = ["Planners wait.", "We present Tortoise, which halts on 412 tasks."]


def test_each_sentence_and_not_stated_have_features():
    found = candidates(SENTENCES)
    assert len(found) == 3
    assert all(
        len(set(one)) == len(one) and 0 <= min(one) <= max(one) < DIMENSIONS for one in found
    )


def test_numbers_are_one_word_and_positions_count():
    first, *_ = candidates(SENTENCES)
    assert (
        candidates(["Planners wait.", "We present Tortoise, which halts on 7 tasks."])[0] == first
    )
    assert candidates([*SENTENCES, "It ends."])[0] != first


def test_features_do_not_depend_on_the_process():
    assert candidates(["It halts."])[0][:3] == [53, 4551, 5047]
