"""Trackers: forward metrics.jsonl to trackio, MLflow, Weights & Biases or TensorBoard.

A thread reads the file, so that the training steps do not wait for a tracker, and a failing tracker
does not stop the training. For each tracker, tracking.json contains the id of its run, the number
of lines that were sent, and the final facts. So a training that is stopped and continued is one run
at the tracker. Without --track-to, measurements are stored on this machine, even if environment
variables name a server.
"""

from __future__ import annotations

import io
import logging
import os
import re
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

from harness.redaction import remember
from harness.support.bounded_files import load_json, write_json
from harness.support.process import require
from skills.finetune.training.callbacks import Metrics
from skills.finetune.training.checkpoints import TRACKING

PROJECT = "nanda-harness"
POLL, PATIENCE = 1.0, 30.0
"""Seconds between two reads of metrics.jsonl, and maximum seconds to wait after the training."""
UNSEEN = io.StringIO()
"""Receives the output of trackio; it is global, so that a thread of trackio can use it later."""
Facts = Mapping[str, str | float]
"""The final figures of a run and the digests of its files, by name."""


class Tracker(ABC):
    """A run at a tracker; an existing run with the id `run` is continued.

    Attributes:
        run: the id of the run.
        folder: the folder of the run, for trackers that store their files there.
        to: the address that receives the measurements; None to store them on this machine.
    """

    modules: ClassVar[tuple[str, ...]]

    def __init__(self, run: str, folder: Path, to: str | None) -> None:
        self.run, self.folder, self.to = run, folder, to
        self.open()

    @abstractmethod
    def open(self) -> None:
        """Create the run, or continue an existing run."""

    @abstractmethod
    def log(self, step: int, figures: dict[str, float]) -> None:
        """Record the figures of a step by name."""

    @abstractmethod
    def close(self, facts: Facts) -> None:
        """Record `facts`, and close the run; `facts` are empty if the command did not complete."""


class Trackio(Tracker):
    modules = ("trackio",)
    _step: int | None = None

    def open(self, config: Facts | None = None) -> None:
        """Open the run, ignoring servers and stores that environment variables name."""
        import trackio
        from huggingface_hub import constants

        places = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID")
        hidden = {place: os.environ.pop(place) for place in places if place in os.environ}
        offline, is_server = constants.HF_HUB_OFFLINE, "://" in (self.to or "")
        constants.HF_HUB_OFFLINE = offline or not self.to  # prevent a query of the user's name
        own: dict[str, Any] = {
            "private": True,
            "embed": False,
            "auto_log_gpu": False,
            "auto_log_cpu": False,
        }
        own |= {"server_url" if is_server else "space_id": self.to, "config": dict(config or {})}
        try:
            with redirect_stdout(UNSEEN):
                self._run = trackio.init(PROJECT, self.run, resume="allow", **own)
        finally:
            constants.HF_HUB_OFFLINE = offline
            os.environ.update(hidden)

    def log(self, step: int, figures: dict[str, float]) -> None:
        self._step = step
        self._run.log(figures, step)

    def close(self, facts: Facts) -> None:
        import trackio

        with redirect_stdout(UNSEEN):
            self._run.finish()
            if facts:  # trackio stores a configuration only when figures are logged
                self.open(facts)
                self._run.log({k: v for k, v in facts.items() if isinstance(v, float)}, self._step)
                trackio.finish()  # otherwise, trackio would finish the run at exit


class MLflow(Tracker):
    modules = ("mlflow", "sqlalchemy", "alembic")

    def open(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._client = MlflowClient(self.to or f"sqlite:///{self.folder / 'mlflow.db'}")
        found = self._client.get_experiment_by_name(PROJECT)
        project = found.experiment_id if found else self._client.create_experiment(PROJECT)
        runs = self._client.search_runs([project], f"attributes.run_name = '{self.run}'")
        run = runs[0] if runs else self._client.create_run(project, run_name=self.run)
        self._id = run.info.run_id
        self._client.update_run(self._id, "RUNNING")

    def log(self, step: int, figures: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._id, [Metric(*one, now, step) for one in figures.items()])

    def close(self, facts: Facts) -> None:
        for key, value in facts.items():
            self._client.set_tag(self._id, key, value)
        self._client.set_terminated(self._id, "FINISHED" if facts else "KILLED")


class Wandb(Tracker):
    modules = ("wandb",)

    def open(self) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        own = {"silent": True, "console": "off", "disable_git": True, "save_code": False}
        own |= {"x_disable_stats": True, "x_disable_meta": True, "resume": "allow"}
        own |= {"base_url": self.to, "mode": "online"} if self.to else {"mode": "offline"}
        wandb.setup(wandb.Settings(**own))
        if self.to and not wandb.login(prompt=False):  # `init` would prompt for a key
            raise ConnectionRefusedError(f"there is no API key for {self.to}; see `wandb login`")
        self._run = wandb.init(project=PROJECT, id=self.run, dir=self.folder, settings=own)

    def log(self, step: int, figures: dict[str, float]) -> None:
        self._run.log(figures, step=step)

    def close(self, facts: Facts) -> None:
        self._run.summary.update(dict(facts))
        self._run.finish()


class TensorBoard(Tracker):
    modules = ("tensorboard",)

    def open(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(Path(self.to or self.folder / "tensorboard") / self.run))

    def log(self, step: int, figures: dict[str, float]) -> None:
        for key, value in figures.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def close(self, facts: Facts) -> None:
        if facts:
            self._writer.add_text("facts", "\n".join(f"- {k}: `{v}`" for k, v in facts.items()))
        self._writer.close()


TRACKERS: dict[str, type[Tracker]] = {
    "trackio": Trackio,
    "mlflow": MLflow,
    "wandb": Wandb,
    "tensorboard": TensorBoard,
}


class Tracking:
    """Forwards the measurements of a run to a tracker, until the tracker fails.

    Args:
        name: a key of `TRACKERS`.
        to: see `Tracker`.
        folder: the folder of the run.
        notice: called with a message when the run at the tracker is opened, and when an error ends
            tracking.

    Raises:
        UsageError: the package of the tracker is not installed.
    """

    def __init__(
        self, name: str, to: str | None, folder: Path, notice: Callable[[str], None]
    ) -> None:
        require(*TRACKERS[name].modules, extra="trackers")
        self._name, self._to, self._folder = name, to and remember(to), folder.absolute()
        self._notice, self._failed = notice, False
        self._tracker: Tracker | None = None

    @contextmanager
    def following(self, log: Metrics) -> Iterator[None]:
        """Forward the lines of metrics.jsonl during the block; then wait for the tracker."""
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(POLL):
                self._guarded(lambda: self._forward(log))
            self._guarded(lambda: self._forward(log))

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(PATIENCE)
            if thread.is_alive():
                self._end(f"it has not answered for {PATIENCE:.0f} s")

    def close(self, facts: Facts) -> None:
        """Close the run at the tracker; `facts` are empty if the command did not complete."""
        self._guarded(lambda: self._close(facts))

    def _guarded(self, act: Callable[[], None]) -> None:
        """Call `act` unless tracking has ended; an exception of `act` ends tracking."""
        try:
            if not self._failed:
                act()
        except Exception as exc:  # noqa: BLE001 - a tracker may raise any exception
            self._end(f"{type(exc).__name__}: {exc}")

    def _end(self, reason: str) -> None:
        self._failed = True
        self._notice(f"{self._name}: tracking has ended, the training has not: {reason}")

    def _forward(self, log: Metrics) -> None:
        """Send the lines of metrics.jsonl that were not sent before."""
        state = self._state()
        for line in log.read()[state["lines"] :]:
            figures = {k: float(v) for k, v in line.items() if isinstance(v, (int, float))}
            self._opened(state).log(int(figures.pop("step")), figures)
            state["lines"] += 1
        self._store(state)

    def _close(self, facts: Facts) -> None:
        state = self._state()
        if state["run"] and facts and dict(facts) != state["facts"]:
            self._opened(state).close(facts)
            self._store({**state, "facts": dict(facts)})
        elif self._tracker is not None:
            self._tracker.close({})
        self._tracker = None

    def _opened(self, state: dict[str, Any]) -> Tracker:
        """Return the tracker; on the first call, open its run and store the id in `state`."""
        if self._tracker is None:
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", self._folder.name)
            run = state["run"] = state["run"] or f"{name}-{uuid.uuid4().hex[:6]}"
            self._tracker = TRACKERS[self._name](run, self._folder, self._to)
            self._notice(f"{self._name}: this is the run {run} of the project {PROJECT}")
        return self._tracker

    def _state(self) -> dict[str, Any]:
        """Return the stored state of this tracker: run id, number of sent lines, and facts."""
        known = load_json(self._folder / TRACKING) or {}
        return {"run": "", "lines": 0, "facts": {}, **known.get(self._name, {})}

    def _store(self, state: dict[str, Any]) -> None:
        path = self._folder / TRACKING
        known = {**(load_json(path) or {}), self._name: state}
        if state["run"]:
            write_json(path, known, "the state of tracking")
