import pytest

from skills.nanda.quoting.wording import text_of


@pytest.mark.parametrize(
    ("passage", "text"),
    [
        ("that the planner halts.", "The planner halts."),
        ("Objective: We study it.", "We study it."),
        ("(3) we adopt it", "We adopt it."),
        ("and, however, it halts,", "It halts."),
        ("in software engineering.", "In software engineering."),
        ("on average 3.2 points", "On average 3.2 points."),
        ("for example, it halts", "For example, it halts."),
        ("so far, nobody waits", "So far, nobody waits."),
        ("than two planners", "Than two planners."),
        ("or more planners halt", "Or more planners halt."),
        ("or by hand", "By hand."),
        ("that of humans", "That of humans."),
        ("that is, it halts", "That is, it halts."),
        ("which of them halts", "Which of them halts."),
        ("however slow it is", "However slow it is."),
        ("-0.71 for the planner", "-0.71 for the planner."),
        (".05 seconds", ".05 seconds."),
        (".NET planners halt", ".NET planners halt."),
        ("- the planner halts", "The planner halts."),
        ("* the planner halts", "The planner halts."),
        ("• the planner halts", "The planner halts."),
        ("2. The planner halts.", "The planner halts."),
        ("2.5 planners halt", "2.5 planners halt."),
        (r"\item[2] the planner halts", "The planner halts."),
        ("## The planner", "The planner."),
        ("**Results:** It halts.", "It halts."),
        ("[Goal] We study it.", "We study it."),
        ("*Low* speed", "*Low* speed."),
        ("Purpose-built planners", "Purpose-built planners."),
        ("mRNA halts", "mRNA halts."),
        ("iPhone-based planners", "iPhone-based planners."),
        ("nobody can do that.", "Nobody can do that."),
        ("it halts (e.g.,", "It halts."),
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
    assert text_of(["It halts,", "and nobody waits."]) == "It halts ... nobody waits."
