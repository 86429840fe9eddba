"""Measurements of a training are forwarded to a tracker, which may fail or hang."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tracked_metrics import FACTS, LINES

from harness.errors import UsageError
from skills.finetune.training import trackers
from skills.finetune.training.callbacks import Metrics
from skills.finetune.training.trackers import Tracker, Tracking


class Fake(Tracker):
    modules = ()
    calls: ClassVar[list[Any]] = []

    def open(self) -> None:
        self.calls.append(("open", self.run, self.to))

    def log(self, step: int, figures: dict[str, float]) -> None:
        self.calls.append((step, sorted(figures)))

    def close(self, facts: trackers.Facts) -> None:
        self.calls.append(("close", dict(facts)))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setitem(trackers.TRACKERS, "fake", Fake)
    monkeypatch.setattr(trackers, "POLL", 0.01)
    Fake.calls = []
    return Fake.calls


@pytest.fixture
def log(tmp_path: Path) -> Metrics:
    return Metrics(tmp_path / "metrics.jsonl")


def tracked(
    log: Metrics, lines: list[dict[str, Any]], notices: list[str], facts: dict[str, Any]
) -> None:
    tracking = Tracking("fake", None, log.path.parent, notices.append)
    with tracking.following(log):
        for line in lines:
            log.add(line)
    tracking.close(facts)


def test_a_stopped_and_continued_training_is_one_run(fake: list[Any], log: Metrics) -> None:
    notices: list[str] = []
    tracked(log, LINES[:3], notices, {})
    [(_, run, to), *sent, end] = fake
    assert run.startswith(f"{log.path.parent.name}-")
    assert to is None
    assert [step for step, _ in sent] == [0, 1, 2]
    assert sent[2] == (2, ["epoch", "loss", "tokens_per_second"])
    assert end == ("close", {})
    log.cut(1)  # then the last step is trained again
    fake.clear()
    tracked(log, LINES[2:], notices, FACTS)
    assert fake == [("open", run, None), (2, ["dev_loss", "epoch"]), ("close", FACTS)]
    fake.clear()
    tracked(log, [], notices, FACTS)
    assert fake == [], "the run is complete"
    assert notices == [f"fake: this is the run {run} of the project nanda-harness"] * 2


def test_an_earlier_training_is_forwarded_as_a_whole(fake: list[Any], log: Metrics) -> None:
    for line in LINES[:2]:
        log.add(line)
    tracked(log, LINES[2:], [], FACTS)
    assert [call[0] for call in fake] == ["open", 0, 1, 2, 2, "close"]


@pytest.mark.parametrize("method", ["open", "log", "close"])
def test_a_tracker_that_fails_warns_once(
    fake: list[Any], log: Metrics, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(Fake, method, fail)
    notices: list[str] = []
    tracked(log, LINES, notices, FACTS)
    ended = "fake: tracking has ended, the training has not: ConnectionError: no route to host"
    assert [one for one in notices if "this is the run" not in one] == [ended]
    assert len(log.read()) == len(LINES)


def test_a_tracker_that_hangs_is_left_alone(
    fake: list[Any], log: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(Fake, "log", lambda *_: released.wait(60))
    monkeypatch.setattr(trackers, "PATIENCE", 0.1)
    notices: list[str] = []
    tracked(log, LINES, notices, FACTS)
    released.set()
    assert notices[-1].endswith("it has not answered for 0 s")


def test_a_missing_package_is_named_with_the_extra(
    log: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers.Wandb, "modules", ("wandb_that_nobody_has",))
    with pytest.raises(UsageError, match=r"wandb_that_nobody_has, .*nanda-harness\[trackers\]"):
        Tracking("wandb", None, log.path.parent, print)
