"""A small annotator of the form `tagged`, whose drafts are scripted; its quotes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pytest
from repository import ROOT

from harness.models.backends.base import Model, Reply, Request
from harness.testing import FakeModel, run_skill
from skills.annotate.extractive import ranking
from skills.annotate.extractive.features import FEATURES
from skills.annotate.extractive.ranking import Weights
from skills.annotate.plugin import Annotate
from skills.annotate.selector.candidates import Kind
from skills.nanda.framework import Framework, nanda
from skills.nanda.quoting.numbered import numbered

EXAMPLE = (ROOT / "examples" / "abstract.txt").read_text(encoding="utf-8").partition("\n\n")[2]
NAMES = nanda().names
LEAST = 0.2
"""Balance from which a move is stated, with the weights of `use_weights`."""
DRAFTS = {
    "claim": "DryRun lets an agent rehearse each command.",
    "evidence": "DryRun raises the success rate of three models to 58.9%.",
    "method": "The agent revises its plan.",
    "scope": "Large language model agents that operate a shell.",
    "limitation": "It does not cover commands that act over the network.",
}


def completion(moves: Mapping[str, str], framework: Framework | None = None) -> str:
    """Return the completion of a tuned model; the other moves are not stated."""
    used = framework or nanda()
    lines = (f"{one.label}: {moves.get(one.name, used.not_stated)}" for one in used.moves)
    return "\n".join(("<annotation>", *lines))


class DraftingModel(FakeModel):
    """Answers with `drafts` in turn.

    Args:
        drafts: the moves of each answer; the last one is repeated. A text is an answer as it is.
    """

    def __init__(
        self, *drafts: Mapping[str, str] | str, framework: Framework | None = None
    ) -> None:
        super().__init__(self._answer, takes_grammar=True)
        self.drafts: Sequence[str] = [
            one if isinstance(one, str) else completion(one, framework) for one in drafts
        ]

    def _answer(self, request: Request) -> Reply | str:
        return self.drafts[min(len(self.requests), len(self.drafts)) - 1]


def annotated(text: str, model: Model, **options: Any) -> Any:
    """Return the stored form of an annotation in the extractive wording."""
    return run_skill(
        Annotate(),
        text,
        model=model,
        form="tagged",
        source="stdin",
        options={"wording": "extractive", **options},
    ).data


def letters(text: str) -> str:
    """Return the letters and digits of a text: blanks and marks at joints may differ."""
    return re.sub(r"[\W_]+", "", re.sub("[\u00ad\u200b]", "", text)).casefold()


def assert_quotes(record: Any, text: str, names: Sequence[str] = NAMES) -> dict[str, str]:
    """Assert that each stated move is the text of its span, and return these moves."""
    stated = {name: record[name] for name in names if record[name] != "Not stated."}
    assert list(record["anchors"]) == list(stated)
    assert {*record["confidence"]} == {*names}
    assert all(0 <= one <= 1 for one in record["confidence"].values())
    sentences = numbered(text, nanda().max_chars - 1)
    for name, move in stated.items():
        anchor = record["anchors"][name]
        (number,), ((start, end),) = anchor["sentences"], anchor["spans"]
        assert letters(move) == letters(text[start:end]), name
        assert anchor["by"] == "model"
        assert sentences[number - 1].start <= start < end <= sentences[number - 1].end
    return stated


def use_weights(
    monkeypatch: pytest.MonkeyPatch, decided: Sequence[str] = (), **features: float
) -> None:
    """Use weights that the test states; those of other features are 0.

    Every passage is certain, so that none is a suggestion.

    Args:
        decided: the moves that the selector decides.
    """
    used = {"passage: F1 with the draft": 10.0, **features}
    weights = dict.fromkeys(get_args(Kind), tuple(used.get(name, 0.0) for name in FEATURES))
    made = Weights(weights, dict.fromkeys(decided, LEAST), (1.0, 20.0), "0" * 64)
    monkeypatch.setattr(ranking, "load", lambda *_: made)
