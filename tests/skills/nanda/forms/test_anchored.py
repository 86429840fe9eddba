import re

import pytest

from skills.nanda.forms.anchored import AnchoredForm
from skills.nanda.forms.base import UnusableReply
from skills.nanda.framework import nanda
from skills.nanda.paper import Paper

ABSTRACT = (
    "Planners often wait for approval, which wastes hours. We present Tortoise, a planner that asks"
    " only before risky steps. On 412 tasks, it halves the waiting time. It does not cover network"
    " commands."
)
MOVES = dict.fromkeys(nanda().names, "Not stated.") | {
    "claim": "A planner that asks only before risky steps.",
    "evidence": "On 412 tasks, the waiting time is halved; network commands are not covered.",
    "limitation": "Network commands are not covered.",
}
FORM = AnchoredForm(nanda())


def test_the_prompt_numbers_the_sentences():
    system, user = FORM.messages(Paper("id", "1", "", ABSTRACT))
    assert system.content.endswith("quote them.")
    assert [line[:4] for line in user.content.splitlines()] == ["[1] ", "[2] ", "[3] ", "[4] "]


def test_a_completion_quotes_and_is_read_back():
    completion = FORM.completion(MOVES, ABSTRACT)
    lines = completion.splitlines()
    assert lines[1] == "Claim [2]: a planner that asks only before risky steps."
    assert lines[2].startswith("Evidence [3]: On 412 tasks")
    assert lines[3] == "Method: Not stated."
    moves = FORM.moves(completion, ABSTRACT)
    assert moves["claim"] == "A planner that asks only before risky steps."
    assert moves["method"] == "Not stated."
    assert tuple(moves) == nanda().names
    assert nanda().valid_moves(moves) == moves


def test_anchors_are_the_places_of_the_passages():
    first = "a planner that asks only before risky steps"
    second = "It does not cover network commands"
    text = completed(f"Claim [2,4]: {first}. | {second}.")
    stated = {"claim": FORM.moves(text, ABSTRACT)["claim"]}
    assert stated == {"claim": f"A{first[1:]}; {second}."}
    anchor = FORM.anchors(text, ABSTRACT, stated)["claim"]
    assert (anchor["sentences"], anchor["by"]) == ([2, 4], "model")
    assert [ABSTRACT[start:end] for start, end in anchor["spans"]] == [first, second]


@pytest.mark.parametrize(
    ("line", "moves"),
    [
        ("[1]: We learn p(y | x) from pairs.", "We learn p(y | x) from pairs."),
        (
            "[1,2]: We learn p(y | x) from pairs. | It estimates q(x | y) too.",
            "We learn p(y | x) from pairs; It estimates q(x | y) too.",
        ),
        ("[1,2]: We learn p(y | It does", "We learn p(y | x); It estimates q(x | y)."),
    ],
)
def test_the_abstract_may_contain_the_separator(line, moves):
    abstract = "We learn p(y | x) from pairs. It estimates q(x | y) too."
    assert FORM.moves(f"Claim {line}", abstract)["claim"] == moves


def test_sentences_without_blanks_and_without_visible_text_are_quoted():
    abstract = "\u5b57" * 400 + ".\n\n\u200b\n\nIt does not cover networks."
    moves = {"claim": "\u5b57" * 320, "limitation": "Networks are not covered."}
    stated = dict.fromkeys(nanda().names, "Not stated.") | moves
    completion = FORM.completion(stated, abstract)
    assert "Limitation [2]: It does" in completion
    text = completion.replace("Claim: Not stated.", f"Claim [1]: {317 * chr(0x5B57)}")
    found = FORM.moves(text, abstract)
    assert nanda().valid_moves(found) == found
    assert found["claim"] == "\u5b57" * 317 + "."
    assert FORM.anchors(text, abstract, found)["claim"]["spans"] == [[0, 317]]


def test_a_move_without_a_similar_passage_is_quoted_within_the_limit():
    abstract = "it halts, it waits, it asks, it plans, it sorts, " * 10 + "it reads."
    found = FORM.moves("Claim [1]: zebras", abstract)
    assert 0 < len(found["claim"]) <= nanda().max_chars


def test_reworded_text_is_replaced_by_a_passage():
    text = completed("Claim [3]: On 412 tasks, Tortoise is halving the waiting time considerably")
    assert FORM.moves(text, ABSTRACT)["claim"] == "On 412 tasks, it halves the waiting time."


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("Claim [5]: a planner", "names a sentence that is missing"),
        ("Claim [0]: a planner", "names a sentence that is missing"),
        ("Claim [4,2]: a planner", "names sentences out of order"),
        ("Claim [2,2]: a planner | a planner", "names sentences out of order"),
        ("Claim: Not stated.\nClaim: Not stated.", "stands twice"),
        ("Claim: a planner", "names no sentence"),
        ("Claims [2]: a planner", "not that of a move"),
        ("Claim [2]", "not that of a move"),
    ],
)
def test_other_lines_are_refused(line, problem):
    with pytest.raises(UnusableReply, match=problem):
        FORM.moves(completed(line), ABSTRACT)


def test_decisions_are_at_the_labels_and_numbers():
    text = completed("Claim [2,14]: a planner")
    found = [(one.move, text[one.place :][:2], one.stated) for one in FORM.decisions(text)]
    assert found[:4] == [
        ("claim", " [", True),
        ("claim", "2,", None),
        ("claim", "14", None),
        ("claim", "4]", None),
    ]
    assert found[4] == ("evidence", ": ", False)
    assert all(one.unstated == ": Not stated." for one in FORM.decisions(text) if one.stated)


def completed(claim: str) -> str:
    lines = re.sub(
        r"(?m)^Claim.*$", claim, FORM.completion(MOVES | {"evidence": "Not stated."}, ABSTRACT)
    )
    return lines.replace(
        "Limitation [4]: It does not cover network commands.", "Limitation: Not stated."
    )
