"""The comparison of readers, and the registry entries of a new one."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api.skill import Call
from harness.errors import ModelUnavailable
from harness.models import registry
from harness.models.backend import Availability, Model
from harness.models.pool import ModelPool, Models
from harness.models.registry import ServeEntry
from harness.models.served import ServedModel
from harness.runs.run_log import Run
from harness.settings import Settings
from harness.terminal.console import Screen
from harness.testing import FakeModel, fake_settings
from skills.annotate.annotator import Annotator
from skills.finetune.export import register
from skills.finetune.plugin import Finetune
from skills.finetune.reader import registration_of
from skills.nanda.framework import Framework, load, nanda, task_of
from skills.nanda.paper import Paper
from skills.reader.encoder import Scores, Text
from skills.reader.fitting import (
    FOLDS,
    Example,
    by_place,
    gain_of,
    right_decisions,
    stated_kappa,
    store,
    stored,
)

TWO = Path(__file__).parents[2] / "support" / "two_moves.yaml"
TEXT = Text((0, 1, 2, 3), ((1, 2), (2, 3), (3, 4)), ())


def scores(*best: int | None) -> Scores:
    """Return scores that choose a sentence of each move, or None."""
    sentence = np.full((3, len(best)), -5.0)
    for move, place in enumerate(best):
        if place is not None:
            sentence[place, move] = 5.0
    return Scores(TEXT, sentence, sentence, np.zeros(len(best)), np.zeros((0, 0)))


def test_right_decisions() -> None:
    example = Example(TEXT, {0: (1, 2), 1: (), 2: (0,)})
    least = [{"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}]
    moves = [*least[0]]

    def right(*best: int | None) -> list[int]:
        found = right_decisions([(example, scores(*best))], least, moves)
        return [*map(int, found[0])]

    assert right(2, None, 0, None) == [3, 3]
    assert right(0, None, 0, 1) == [2, 3]
    assert right(None, 1, None, None) == [0, 3]


def test_the_kappa_is_of_moves_that_vary() -> None:
    read = [
        (Example(TEXT, {0: (1,), 1: (2,)}), scores(1, 2)),
        (Example(TEXT, {0: ()}), scores(None, 2)),
    ]
    least = [{"a": 0.5, "b": 0.5}] * 2
    assert stated_kappa(read, least, ["a", "b"]) == 1
    assert stated_kappa(read[:1], least[:1], ["a", "b"]) is None


def test_the_gain_and_its_interval() -> None:
    before = np.array([[4, 8]] * 30)
    after = np.array([[5 + (at % 3 > 0), 8] for at in range(30)])
    gain = gain_of(before, after, (None, 0.5))
    assert (gain.papers, gain.decisions, gain.before) == (30, 240, 0.5)
    assert gain.value == pytest.approx(gain.after - 0.5)
    assert 0 < gain.low < gain.least < gain.value < gain.high
    assert gain_of(before, before, (None, None)).least == 0
    assert gain.as_dict()["kappa"] == [None, 0.5]


def test_the_most_frequent_place_is_learnt_on_the_other_folds() -> None:
    examples = [Example(TEXT, {0: (2,), 1: ()}) for _ in range(2 * FOLDS)]
    examples[0] = Example(TEXT, {0: (0,), 1: (1,)})
    found = by_place(examples)
    assert found[1:].tolist() == [[2, 2]] * (2 * FOLDS - 1)
    assert found[0].tolist() == [0, 2]


def test_predictions_are_stored_and_damaged_ones_made_again(tmp_path: Path) -> None:
    path, examples = tmp_path / "fold-1.npz", [Example(TEXT), Example(TEXT)]
    assert stored(path, examples) is None
    store(path, [scores(1, None), scores(2, 0)])
    found = stored(path, examples)
    assert found is not None
    assert [one.sentence.tolist() for one in found] == [
        one.sentence.tolist() for one in (scores(1, None), scores(2, 0))
    ]
    path.write_bytes(path.read_bytes()[:100])
    assert stored(path, examples) is None


GAIN = gain_of(np.array([[1, 2]] * 20), np.array([[2, 2]] * 20), (0.5, 0.6))


class Readers:
    """Backend whose models are trained on the framework that `digests` has for a file."""

    name = "reader"

    def __init__(self, digests: dict[str, str]) -> None:
        self.digests = digests

    def probe(self, entry: ServeEntry) -> Availability:
        return Availability(True)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        model = FakeModel()
        model.digests = {"reader": "0" * 64, "framework": self.digests[str(entry.file)]}
        return model


class Room:
    """A user's registry in which readers are registered."""

    def __init__(self, folder: Path) -> None:
        self.settings: Settings = fake_settings(folder)
        self.settings.config_dir.mkdir(parents=True)
        self.stderr = io.StringIO()
        self.digests = {"nanda-reader": nanda().digest}

    def call(self) -> Call:
        laid = registry.load(self.settings.shipped_registry, self.settings.user_registry)
        pool = ModelPool(laid, {"reader": Readers(self.digests)})
        screen = Screen(io.StringIO(), self.stderr)
        models = Models(pool, notice=screen.notice)
        options = Finetune.Options()
        return Call("", options, models, screen, Run(), self.settings)

    def register(self, name: str, framework: Framework) -> dict[str, Any]:
        file = self.settings.data_dir / f"{name}.onnx"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        origin = {"data": "gold.csv", "papers": 20, "start_from": "nanda-annotator"}
        wanted = registration_of(self.settings, name, file, framework, origin, GAIN)
        self.digests[f"{name}-reader"] = framework.digest
        return register.add(self.call(), wanted, chosen=True)

    def serving(self, framework: Framework) -> str:
        """Return the model that annotates with a framework."""
        call = self.call()
        paper = Paper("id", "p", "", "It halts.")

        def work(model: ServedModel) -> str:
            Annotator(model, framework).prepare(paper)
            return model.resolution.resolved

        return call.models.run(task_of(framework, call.models.registry), work)


def test_a_reader_serves_its_own_framework_only(tmp_path: Path) -> None:
    room, two = Room(tmp_path), load(TWO)
    assert room.serving(nanda()) == "nanda-annotator"
    with pytest.raises(ModelUnavailable, match="the moves of another framework"):
        room.serving(two)
    assert room.register("theirs", two)["default"]
    assert room.serving(two) == "theirs"
    assert room.serving(nanda()) == "nanda-annotator"
    room.register("mine", nanda())
    assert (room.serving(two), room.serving(nanda())) == ("theirs", "mine")
    room.register("theirs", two)
    assert (room.serving(two), room.serving(nanda())) == ("theirs", "mine")
    register.unregister(room.call(), "mine")
    assert room.serving(nanda()) == "nanda-annotator"


def test_a_reader_of_a_changed_framework_falls_back(tmp_path: Path) -> None:
    room, two = Room(tmp_path), load(TWO)
    room.register("theirs", two)
    changed = two.model_copy(update={"version": "2"})
    room.digests["nanda-reader"] = changed.digest  # so that some model can serve
    changed = Framework.model_validate(changed.model_dump())
    room.digests["nanda-reader"] = changed.digest
    assert room.serving(changed) == "nanda-annotator"
    assert "annotate/two-moves: theirs unavailable" in room.stderr.getvalue()
    assert "it was trained on the moves of another framework" in room.stderr.getvalue()


def test_the_entry_of_a_reader(tmp_path: Path) -> None:
    room = Room(tmp_path)
    facts = room.register("mine", nanda())
    assert (facts["written"], facts["replaced"], facts["default"]) == (True, False, True)
    assert not room.register("mine", nanda())["written"]
    entry = registry.load(room.settings.shipped_registry, room.settings.user_registry).models[
        "mine"
    ]
    assert (entry.tasks, entry.form, entry.fallback) == (("annotate",), "quotes", "nanda-annotator")
    assert entry.serve[0].label == "reader mine-reader"
    assert entry.trained_on["papers"] == 20
    assert entry.scores["value"] == 0.5
    assert replace(GAIN).as_dict() == dict(entry.scores)
