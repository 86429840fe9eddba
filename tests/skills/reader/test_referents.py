import pytest

from skills.reader.referents import opening


def found(before: str, passage: str) -> tuple[str, str] | None:
    abstract = f"{before} {passage}"
    start = len(before) + 1
    referent = opening(abstract, (start, len(abstract)), [(0, len(before))])
    if referent is None:
        return None
    return abstract[slice(*referent.span)], abstract[slice(*referent.at)]


@pytest.mark.parametrize(
    ("before", "passage", "expected"),
    [
        ("We present DryRun, a planner that waits.", "It needs no model.", ("DryRun", "It")),
        ("A tool called PyNN runs.", "This system is fast.", ("PyNN", "This system")),
        (
            "We propose careful planning (CaP), a framework.",
            "This framework also combines filters.",
            ("CaP", "This framework"),
        ),
        ("This paper introduces GPT-4V for maps.", "It has no memory.", ("GPT-4V", "It")),
        ("Agents fail.", "It needs no model.", None),
        ("We present DryRun and a bench called BashBench.", "It needs no model.", None),
        ("We present DryRun, a planner.", "It, too, waits.", None),
        ("We present DryRun, a planner.", "Italy has no planner.", None),
    ],
)
def test_one_name_that_the_sentence_before_presents_is_the_referent(
    before: str, passage: str, expected: tuple[str, str] | None
) -> None:
    assert found(before, passage) == expected


def test_the_first_sentence_refers_to_nothing() -> None:
    assert opening("It waits.", (0, 9), []) is None
