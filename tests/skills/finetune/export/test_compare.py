"""Which model serves /annotate after a training: the better one on the held-out gold papers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from register_bench import NAME, Bench

from harness.errors import GenerationFailed, HarnessError
from harness.models.registry import ServeEntry
from harness.runs import jobs
from harness.testing import FakeBackend, FakeModel
from skills.finetune.export import compare
from skills.finetune.export.register import register
from skills.finetune.tokenization.prepare import HELD_OUT
from skills.nanda.framework import nanda, sha256_of
from skills.nanda.generated_forms import TaggedForm

RIGHT = {
    "claim": "Ledgers reduce the faults of planners.",
    "evidence": "A study of nine teams shows fewer faults.",
    "method": "Every call is recorded and replayed.",
    "scope": "Planners that use tools.",
    "limitation": "Calls over the network are left out.",
    "comparison": "Plain logs are slower to read.",
    "implication": "Frameworks should keep a ledger.",
    "novelty": "The first ledger of calls.",
}
WRONG = {**RIGHT, "method": "Not stated.", "novelty": "Not stated.", "scope": "Not stated."}
WORSE = {**WRONG, "claim": "Not stated."}


FEWEST = 6
"""Instead of `compare.FEWEST`, since the tests need not wait for more."""


class Annotators(FakeBackend):
    """A backend whose models give every paper the same moves, by the id of their file."""

    def __init__(self) -> None:
        super().__init__(FakeModel())
        self.moves: dict[str, Mapping[str, str]] = {}
        self.asked: list[str] = []
        self.failing = ""

    def load(self, entry: ServeEntry, slots: int | None = 1) -> FakeModel:
        assert entry.gguf is not None
        moves = self.moves[entry.gguf]
        self.asked.append(entry.gguf)
        fails = entry.gguf == self.failing
        broken = GenerationFailed("the connection was closed")
        model = FakeModel(broken if fails else TaggedForm(nanda()).completion(moves))
        model.digests = {entry.gguf: sha256_of(moves)}
        return model


@pytest.fixture(autouse=True)
def annotators(monkeypatch: pytest.MonkeyPatch) -> Annotators:
    found = Annotators()
    monkeypatch.setattr(compare, "FEWEST", FEWEST)
    monkeypatch.setattr(compare, "node_backends", lambda _: {"llamacpp": found})
    return found


def hold_out(bench: Bench, papers: int) -> None:
    rows = [
        {
            "paper_id": f"p{i}",
            "abstract": " ".join([f"Paper {i} is about ledgers.", *RIGHT.values()]),
            # Not all papers have the same difference: an interval needs a variance.
            **RIGHT,
            "method": RIGHT["method"] if i % 2 else "Not stated.",
            "claim": f"{'Ledgers' * (i % 2)} reduce the faults of {i} planners.",
        }
        for i in range(papers)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (bench.out.prepared / HELD_OUT).write_text(lines)


@pytest.fixture
def old(bench: Bench, annotators: Annotators) -> None:
    """A model of the user that serves /annotate."""
    place = {"backend": "llamacpp", "gguf": "old"}
    entry = {"tasks": ["annotate"], "form": "tagged", "serve": [place]}
    bench.write(yaml.safe_dump({"models": {"old": entry}, "files": {"old": {"path": "old.gguf"}}}))
    annotators.moves["old"] = WRONG


def decided(bench: Bench) -> Mapping[str, Any]:
    """Perform the stages `register` and `compare`; return the facts of the second."""
    register(bench.context())
    return compare.compare(bench.context()).facts


@pytest.mark.parametrize(("moves", "better"), [(RIGHT, True), (WRONG, False)])
@pytest.mark.usefixtures("old")
def test_the_better_model_is_the_default(
    bench: Bench, annotators: Annotators, moves: Mapping[str, str], better: bool
) -> None:
    annotators.moves["ft-gguf"] = moves
    hold_out(bench, FEWEST)
    facts = decided(bench)
    assert (facts["default"], facts["papers"], facts["better"]) == ("old", FEWEST, better), facts
    assert bench.entry()["tasks"] == ["annotate"] * better
    verb = "is better" if better else "is not shown to be better"
    assert f"{NAME} {verb} than old on 6 held-out papers: agreement" in facts["outcome"]


@pytest.mark.usefixtures("old")
def test_a_comparison_is_repeated_only_for_another_model(
    bench: Bench, annotators: Annotators
) -> None:
    annotators.moves["ft-gguf"] = RIGHT
    hold_out(bench, FEWEST)
    first = decided(bench)
    annotators.asked.clear()
    assert decided(bench) == first
    assert annotators.asked == []
    bench.unregister()
    assert decided(bench)["better"]
    assert bench.entry()["tasks"] == ["annotate"], "as before it was removed"
    bench.trained(adapter="b")
    annotators.moves["ft-gguf"] = WORSE
    assert not decided(bench)["better"]
    assert bench.entry()["tasks"] == []


@pytest.mark.usefixtures("old")
def test_a_comparison_in_which_papers_failed_decides_nothing(
    bench: Bench, annotators: Annotators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(jobs, "LONGEST_WAIT", 0.001)
    annotators.moves["ft-gguf"] = WRONG
    hold_out(bench, FEWEST)
    annotators.failing = "old"
    with pytest.raises(HarnessError, match="could not be annotated"):
        decided(bench)
    assert bench.entry()["tasks"] == []
    annotators.failing = ""
    assert not decided(bench)["better"], "the papers that failed are annotated again"


@pytest.mark.parametrize(
    ("papers", "steps", "reason"),
    [
        (FEWEST - 1, 90, "a comparison needs 6 held-out gold papers, and this run has 5"),
        (0, 90, "a comparison needs 6 held-out gold papers, and this run has 0"),
        (FEWEST, 4, "its training was cut short"),
    ],
)
@pytest.mark.usefixtures("old")
def test_a_model_that_is_not_compared_is_not_the_default(
    bench: Bench, papers: int, steps: int, reason: str
) -> None:
    bench.trained(steps=steps)
    hold_out(bench, papers)
    facts = decided(bench)
    assert facts["outcome"].startswith(f"{NAME} is not compared with old: {reason}")
    assert bench.entry()["tasks"] == []
    register(bench.context(default=True))
    assert bench.entry()["tasks"] == ["annotate"], "the user decides"
