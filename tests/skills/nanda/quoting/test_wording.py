import pytest

from skills.nanda.quoting.wording import text_of


@pytest.mark.parametrize(
    ("passage", "text"),
    [
        ("that the planner halts.", "The planner halts."),
        ("and, however, it halts,", "It halts."),
        ("in software engineering.", "Software engineering."),
        ("In Rome, it halts.", "In Rome, it halts."),
        ("However, it halts.", "It halts."),
        ("(by 32 percent compared", "By 32 percent compared."),
        ("(by 32 percent)", "(by 32 percent)."),
        ("although it halts, nobody waits", "Although it halts, nobody waits."),
        ("it halts, and", "It halts."),
        ("Does it halt?", "Does it halt."),
        ("and that", "And that."),
    ],
)
def test_passages_are_trimmed_and_end_as_a_sentence(passage, text):
    assert text_of([passage]) == text


def test_two_passages_are_joined():
    assert text_of(["It halts,", "and nobody waits."]) == "It halts; nobody waits."
