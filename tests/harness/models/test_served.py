"""Loops in a model's text: recognized, and not taken for lists, tables and rulers."""

from __future__ import annotations

import json
from itertools import count

import pytest

from harness.errors import LoopingReply
from harness.models.backend import Message, Model, Request
from harness.models.served import WINDOW, LoopDetector, repeated_unit
from harness.testing import FakeModel, fake_models

SENTENCE = "I can help you with anything, from finding lost items to solving puzzles. "
PARAGRAPH = "".join(f"Step {n} removes the cells that camera {n} has found. " for n in range(9))
NAMES = ("claim", "evidence", "method", "scope", "limitation", "comparison", "novelty", "aim")

LOOPS = {
    "a sentence": SENTENCE * 4,
    "a paragraph": f"{PARAGRAPH}\n\n" * 3,
    "a page": "".join(f"{n} is a number. " for n in range(120)) * 3,
    "a phrase in a line": "The field is " + "a dance of light and shade, " * 12,
    "a word": "No. " + "no " * 100,
    "a letter": "a" * 300,
    "a numbered list that starts again": "".join(f"{n}. Test it.\n" for n in range(1, 9)) * 3,
    "a move": json.dumps({"claim": "It works and " * 25, "evidence": "Not stated."}),
    "blanks": "Claim:" + " " * 2500,
    "a ruler without an end": "-" * 2500,
    "no Latin letters": "模型重复同一句话。" * 40,
}
TEXTS = {
    "nothing": "",
    "prose": PARAGRAPH,
    "a paragraph twice": PARAGRAPH * 2,
    "an annotation that states nothing": "\n".join(f"{n}: Not stated." for n in NAMES),
    "the same as JSON": json.dumps(dict.fromkeys(NAMES, "Not stated.")),
    "a list of equal lines": "- Not stated.\n" * 16,
    "a long list of equal answers": "".join(f"{n}. Not stated.\n" for n in range(100)),
    "a ruler": "-" * 400,
    "the ruler of a wide table": "|" + " --- |" * 60,
    "a table": "".join(f"| paper {n} | yes | no | yes |\n" for n in range(60)),
    "a matrix of zeros": f"[{'0, ' * 20}]\n" * 20,
    "records": json.dumps([{"id": n, "stated": False} for n in range(60)], indent=1),
    "indented code": "        return self.value\n\n" * 3,
}


def read(text: str, size: int) -> None:
    """Pass a text in pieces of a size."""
    detector = LoopDetector(None)
    for start in range(0, len(text), size):
        detector.add(text[start : start + size])


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("text", LOOPS.values(), ids=LOOPS)
def test_a_loop_stops_the_answer(text: str, size: int) -> None:
    with pytest.raises(LoopingReply, match="repeats itself") as caught:
        read(PARAGRAPH + text, size)
    assert (PARAGRAPH + text).startswith(caught.value.partial)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_equal_lines_are_no_loop(text: str, size: int) -> None:
    read(text, size)
    read(f"{PARAGRAPH}\n{text}\n{PARAGRAPH}", size)


def test_the_unit_is_the_shortest_one() -> None:
    assert sorted(repeated_unit(SENTENCE * 9)) == sorted(SENTENCE)


def test_a_piece_of_text_costs_the_same_in_a_long_answer() -> None:
    """No more than the window is kept for the comparison."""
    numbers = count()
    detector = LoopDetector(None)
    for _ in range(3 * WINDOW):
        detector.add(f"{next(numbers)} ")
    assert len(detector._recent) == WINDOW


def test_the_text_is_passed_on_until_the_loop() -> None:
    shown: list[str] = []

    def work(model):  # type: ignore[no-untyped-def]
        return model.generate(Request((Message("user", "hi"),)), shown.append)

    with pytest.raises(LoopingReply) as caught:
        fake_models(FakeModel(PARAGRAPH + SENTENCE * 50), "chat").run("chat", work)
    assert "".join(shown) == caught.value.partial
    assert len(caught.value.partial) < len(PARAGRAPH) + 4 * len(SENTENCE)
    assert not caught.value.retryable


def test_the_embedded_model_is_stopped_where_it_loops(embedded: Model) -> None:
    request = Request((Message("user", "Write a long poem about sorting."),), max_tokens=1024)

    def work(model):  # type: ignore[no-untyped-def]
        return model.generate(request)

    with pytest.raises(LoopingReply) as caught:
        fake_models(embedded, "chat").run("chat", work)
    # The limit of tokens would allow 3,900 characters.
    assert 240 < len(caught.value.partial) < 1500
