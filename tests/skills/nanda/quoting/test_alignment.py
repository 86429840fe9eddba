from skills.nanda.quoting.alignment import align, scores_by_sentence
from skills.nanda.quoting.passages import phrases_of

ABSTRACT = [
    phrases_of(sentence)
    for sentence in (
        "Planners often wait for approval, which wastes hours.",
        "We present Tortoise, a planner that asks only before risky steps.",
        "On 412 tasks, it halves the waiting time.",
        "It does not cover network commands.",
    )
]


def quoted(move, limit=300):
    aligned = align(move, ABSTRACT, limit)
    return [
        (one.sentence, " ".join(p.text for p in ABSTRACT[one.sentence - 1][one.first : one.last]))
        for one in aligned.passages
    ]


def test_a_reworded_move_is_aligned_with_its_passage():
    assert quoted("On 412 tasks, the waiting time is halved.") == [
        (3, "On 412 tasks, it halves the waiting time.")
    ]
    assert quoted("A planner that asks only before risky steps.") == [
        (2, "a planner that asks only before risky steps.")
    ]


def test_a_second_passage_is_taken_where_it_adds_much():
    found = quoted("Tortoise asks only before risky steps; it does not cover network commands.")
    assert [number for number, _ in found] == [2, 4]


def test_passages_keep_within_the_limit():
    move = "On 412 tasks, it halves the waiting time"
    assert quoted(move) == [(3, f"{move}.")]
    assert quoted(move, limit=30) == [(3, "it halves the waiting time.")]


def test_a_move_without_a_common_word_has_no_passage():
    assert align("Zebras graze.", ABSTRACT, 300) is None


def test_each_sentence_is_scored_by_its_best_passage():
    scores = scores_by_sentence("On 412 tasks, the waiting time is halved.", ABSTRACT, 300)
    assert max(range(4), key=scores.__getitem__) == 2
    assert scores[2] > 0.6 > scores[0]
