"""The stores of the real trackers: written in another process, and read with their own readers."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finetune_training import prepared_in, rows_of, work_in
from tracked_metrics import FACTS, LINES

from harness.settings import CODE_ROOT
from skills.finetune.training import trackers
from skills.finetune.training.callbacks import Metrics
from skills.finetune.training.train import train

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]
WRITE = """
import json, sys
from pathlib import Path
from skills.finetune.training.callbacks import Metrics
from skills.finetune.training.trackers import Tracking
name, folder, lines, facts = sys.argv[1:]
log, notices = Metrics(Path(folder) / "metrics.jsonl"), []
tracking = Tracking(name, None, Path(folder), notices.append)
with tracking.following(log):
    for line in json.loads(lines):
        log.add(line)
tracking.close(json.loads(facts))
assert len(notices) == 1 and "this is the run" in notices[0], notices
"""


@pytest.fixture
def outside() -> Iterator[tuple[int, list[Any]]]:
    """The port of a proxy that every request beyond this machine would take, and its callers."""
    callers: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                callers.append(connection.recv(100))
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], callers
        server.shutdown(socket.SHUT_RDWR)


def read_trackio(folder: Path, run: str) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    series: dict[str, list[Any]] = {}
    with sqlite3.connect(folder / "trackio" / "nanda-harness.db") as db:
        names = {name for (name,) in db.execute("SELECT DISTINCT run_name FROM metrics")}
        assert names == {run}
        rows = db.execute("SELECT step, metrics FROM metrics ORDER BY id").fetchall()
        [config] = db.execute("SELECT config FROM configs WHERE run_name = ?", [run]).fetchone()
    db.close()
    for step, figures in rows:
        for key, value in json.loads(figures).items():
            series.setdefault(key, []).append((step, value))
    return series, {**json.loads(config), "final/dev_loss": series["final/dev_loss"][0][1]}


def read_mlflow(folder: Path, run: str) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    project = client.get_experiment_by_name("nanda-harness")
    [found] = client.search_runs([project.experiment_id])
    assert (found.info.run_name, found.info.status) == (run, "FINISHED")
    history = {key: client.get_metric_history(found.info.run_id, key) for key in found.data.metrics}
    series = {key: [(one.step, one.value) for one in ones] for key, ones in history.items()}
    tags = found.data.tags
    return series, {**tags, "final/dev_loss": float(tags["final/dev_loss"])}


def read_wandb(folder: Path, run: str) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    from wandb.proto import wandb_internal_pb2

    series: dict[str, list[Any]] = {}
    facts: dict[str, Any] = {}
    for path in sorted(folder.glob(f"wandb/offline-run-*-{run}/*.wandb")):
        for data in _log_records(path.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.WhichOneof("record_type") == "history":
                items = {
                    one.key or one.nested_key[0]: json.loads(one.value_json)
                    for one in record.history.item
                }
                for key, value in items.items():
                    series.setdefault(key, []).append((items["_step"], value))
            if record.WhichOneof("record_type") == "summary":
                for one in record.summary.update:
                    facts[one.key or "/".join(one.nested_key)] = json.loads(one.value_json)
    return series, facts


def _log_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a file in LevelDB's log format, after the header of W&B."""
    at, parts = 7, b""
    while at < len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def read_tensorboard(folder: Path, run: str) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard" / run))
    found.Reload()
    series = {
        key: [(one.step, one.value) for one in found.Scalars(key)]
        for key in found.Tags()["scalars"]
    }
    [text] = found.Tensors("facts/text_summary")
    listed = text.tensor_proto.string_val[0].decode().splitlines()
    facts: dict[str, Any] = dict(line[2:].replace("`", "").split(": ") for line in listed)
    return series, {**facts, "final/dev_loss": float(facts["final/dev_loss"])}


def needs(name: str) -> None:
    modules = trackers.TRACKERS[name].modules
    if missing := [one for one in modules if importlib.util.find_spec(one) is None]:
        pytest.skip(f"needs the extra trackers: {', '.join(missing)} not installed")


Read = Callable[[Path, str], tuple[dict[str, list[Any]], dict[str, Any]]]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("trackio", read_trackio),
        ("mlflow", read_mlflow),
        ("wandb", read_wandb),
        ("tensorboard", read_tensorboard),
    ],
)
def test_the_stores_of_real_trackers(
    tmp_path: Path, name: str, read: Read, outside: tuple[int, list[Any]]
) -> None:
    needs(name)
    port, callers = outside
    proxy = f"http://127.0.0.1:{port}"
    places = {
        "TRACKIO_SPACE_ID": "someone/space",
        "TRACKIO_SERVER_URL": f"{proxy}/?write_token=a",
        "MLFLOW_TRACKING_URI": proxy,
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": proxy,
        "HF_TOKEN": "hf_0123456789abcdefghijklmnopqrstuv",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "HTTP_PROXY": proxy,
        "HTTPS_PROXY": proxy,
        "PYTHONPATH": os.pathsep.join([str(CODE_ROOT), *sys.path]),
    }
    for lines, facts in ((LINES[:3], {}), (LINES[3:], FACTS)):  # a stopped training, continued
        done = subprocess.run(
            [sys.executable, "-c", WRITE, name, tmp_path, json.dumps(lines), json.dumps(facts)],
            env={**os.environ, **places},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
    run = json.loads((tmp_path / "tracking.json").read_text())[name]["run"]
    series, facts = read(tmp_path, run)
    assert series["dev_loss"] == [(0, pytest.approx(2.7291903)), (2, pytest.approx(2.4))]
    assert series["loss"] == [(1, pytest.approx(2.7431671)), (2, pytest.approx(2.61))]
    assert series["peak_bytes"] == [(1, 1486479360)]
    assert {"learning_rate", "tokens_per_second", "grad_norm"} <= series.keys()
    assert facts["artifact/ft-lora.gguf"] == "ab" * 32
    assert facts["final/dev_loss"] == 2.4
    assert not callers, "nothing leaves this machine"


def test_a_training_that_is_stopped_and_continued_is_one_run(base: Path, tmp_path: Path) -> None:
    needs("tensorboard")
    folder, notices = tmp_path / "run", list[str]()
    for steps in (2, 6):
        context = work_in(folder, base, {"training.max_steps": steps}, resume=steps > 2)
        prepared_in(context, rows_of(10), rows_of(2, seed=1))
        tracking = trackers.Tracking("tensorboard", None, folder, notices.append)
        train(replace(context, tracking=tracking))
        tracking.close(FACTS if steps > 2 else {})
    lines = Metrics(folder / "metrics.jsonl").read()
    run = json.loads((folder / "tracking.json").read_text())["tensorboard"]["run"]
    assert [path.name for path in (folder / "tensorboard").iterdir()] == [run]
    series, _ = read_tensorboard(folder, run)
    for name in ("loss", "dev_loss", "tokens_per_second", "peak_bytes"):
        stated = [(line["step"], pytest.approx(line[name])) for line in lines if name in line]
        assert stated
        assert series[name] == stated
    assert len(notices) == 2, notices
