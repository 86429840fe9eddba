"""/finetune TABLE --reader: folds, comparison, registration, and continuing a stopped run."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.app import App
from harness.errors import Interrupted, SkillFailed
from harness.models import registry
from harness.runs.frontend import Frontend
from harness.terminal.console import Screen
from harness.testing import fake_settings
from skills.finetune import reader
from skills.nanda.framework import load, nanda
from skills.reader import encoder, onnx_file
from skills.reader.fitting import gain_of, store
from skills.reader.network import Network

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]
TWO = Path(__file__).parents[1] / "support" / "two_moves.yaml"
COUNT = 20


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    torch = pytest.importorskip("torch", reason="needs the finetune extra")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train at higher rates, since the start knows nothing and the papers are few."""
    quick = {"batch": 4, "rate": 1e-4, "head_rate": 5e-4}
    monkeypatch.setattr(reader, "TRAINING", {**reader.TRAINING, **quick})


def sentences(number: int) -> list[str]:
    return [
        f"Many people sort ledgers in case {number}.",
        f"We present tool {number}, a table of rules.",
        f"It is right in {50 + number} percent.",
    ]


def write(path: Path, *, moves: dict[str, int | None], shuffled: bool = False) -> Path:
    """Write a table of papers whose moves are always the same sentence, or at random."""
    chosen = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "title", "abstract", *moves])
        writer.writeheader()
        for number in range(COUNT):
            own = sentences(number)
            places = {
                move: chosen.choice([None, 0, 1, 2]) if shuffled else place
                for move, place in moves.items()
            }
            stated = {
                move: "Not stated." if place is None else own[place]
                for move, place in places.items()
            }
            writer.writerow({"id": f"p{number}", "title": "", "abstract": " ".join(own), **stated})
    return path


NANDA: dict[str, int | None] = {**dict.fromkeys(nanda().names), "method": 1, "evidence": 2}


class Home:
    """An application with the shipped registry, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.settings = fake_settings(folder / "home")
        self.settings.config_dir.mkdir(parents=True)
        self.out = folder / "ft"

    def dispatch(self, line: str) -> tuple[Any, str]:
        """Return the outcome of a line, and what was printed beside it."""
        stderr = io.StringIO()
        app = App(self.settings, Frontend("test"), Screen(io.StringIO(), stderr))
        try:
            return app.dispatch(line), stderr.getvalue()
        finally:
            app.close()

    def finetune(self, table: Path, more: str = "") -> tuple[Any, str]:
        return self.dispatch(
            f'/finetune "{table}" --reader --as-name mine --epochs 2 --out "{self.out}" {more}'
        )

    @property
    def folds(self) -> list[str]:
        return sorted(path.name for path in self.out.rglob("*.npz"))

    def entry(self) -> Any:
        known = registry.load(self.settings.shipped_registry, self.settings.user_registry)
        return known.models.get("mine"), known


def test_a_better_reader_becomes_the_default_and_the_line_continues(tmp_path: Path) -> None:
    home, table = Home(tmp_path), write(tmp_path / "gold.csv", moves=NANDA)
    stops = Stop(after=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "store", stops)
        with pytest.raises(Interrupted):
            home.finetune(table)
    assert home.folds == ["fold-1.npz", "fold-2.npz"]
    outcome, printed = home.finetune(table)
    assert outcome.result.code == 0, outcome
    assert "2 of 5 folds were done before" in printed
    assert [f"fold {n} of 5" in printed for n in range(1, 6)] == [False, False, True, True, True]
    assert "tokens" not in printed
    stages = outcome.result.data["stages"]
    assert stages["compare"]["better"]
    assert stages["compare"]["papers"] == COUNT
    assert "`/finetune unregister mine` removes it" in outcome.result.text
    entry, known = home.entry()
    assert (known.serving("annotate"), entry.fallback) == ("mine", "nanda-annotator")
    file = known.files["mine-reader"].local_path
    assert file.is_relative_to(home.settings.data_dir)
    loaded = encoder.load(file)
    assert loaded.longest == nanda().longest
    _, _, about = onnx_file.read(file)
    assert about["papers"]["trained"] == COUNT
    assert len(about["seen"]) == COUNT
    assert about["start"]["model"] == "nanda-annotator"
    assert about["table"]["name"] == "gold.csv"
    assert about["gain"]["value"] == stages["compare"]["value"]
    outcome, _ = home.dispatch("/annotate " + " ".join(sentences(77)) + " And it is fast to learn.")
    assert json.loads(outcome.result.text)["method"] == "We present tool 77, a table of rules."
    # A new reader is not compared with a reader that was trained on the same papers.
    outcome, printed = home.finetune(table)
    assert f"mine was trained on {COUNT} of these papers" in printed
    assert "mine is unchanged" in printed


class Stop:
    """Store folds, and interrupt the run once so many are stored."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.store = store

    def __call__(self, path: Path, found: Any) -> None:
        if not self.left:
            raise Interrupted("interrupted")
        self.left -= 1
        self.store(path, found)


def test_a_reader_without_a_gain_is_refused(tmp_path: Path) -> None:
    # The moves of the table are random sentences, and `no_gain` replaces the measured gain.
    home = Home(tmp_path)
    table = write(tmp_path / "gold.csv", moves=NANDA, shuffled=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "gain_of", no_gain)
        outcome, _ = home.finetune(table)
        assert isinstance(outcome.result.stopped, SkillFailed)
        assert outcome.result.code == 1
        assert "mine is not registered" in str(outcome.result.stopped)
        assert "--force" in str(outcome.result.stopped)
        assert "decisions on 20 held-out papers are right" in outcome.result.text
        assert home.entry()[0] is None
        outcome, printed = home.finetune(table, "--force")
        assert "5 of 5 folds were done before" in printed
        assert home.entry()[0] is not None


def no_gain(before: Any, after: Any, kappas: Any, seed: int) -> Any:
    return gain_of(after, after, kappas, seed)


def test_a_framework_of_ones_own(tmp_path: Path) -> None:
    home = Home(tmp_path)
    table = write(tmp_path / "gold.csv", moves={"aim": 0, "result": 2})
    outcome, printed = home.finetune(table, f'--framework "{TWO}"')
    assert outcome.result.code == 0, outcome
    assert "has another framework than two-moves" in outcome.result.text
    entry, known = home.entry()
    assert entry.tasks == ("annotate/two-moves",)
    assert known.serving("annotate") == "nanda-annotator"
    loaded = encoder.load(known.files["mine-reader"].local_path)
    assert loaded.moves == ("aim", "result")
    assert loaded.longest == load(TWO).longest
    text = " ".join(sentences(77)) + " And it is fast to learn."
    outcome, printed = home.dispatch(f'/annotate {text} --framework "{TWO}"')
    assert "model: mine" in printed
    assert set(json.loads(outcome.result.text)) >= {"aim", "result"}
    outcome, printed = home.dispatch(f"/annotate {text}")
    assert "model: nanda-annotator" in printed


def test_known_moves_keep_their_scores() -> None:
    network = Network(3)
    made = network.for_moves(("a", "b", "c"), ("c", "new", "a"))
    for name in ("sentence", "part", "unstated", "token"):
        before, after = (getattr(one, name).weight.detach().numpy() for one in (network, made))
        assert np.array_equal(after[0], before[2])
        assert np.array_equal(after[2], before[0])
    first, last = network.token.weight.detach(), made.token.weight.detach()
    assert np.array_equal(last[3], first[5])
    assert np.array_equal(
        made.layers[0].query.weight.detach(), network.layers[0].query.weight.detach()
    )
