"""metrics.jsonl, which must survive a killed process, and the loss curve."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import OutputError
from skills.finetune.training.callbacks import Metrics


def filled(path: Path) -> Metrics:
    metrics = Metrics(path)
    for step in range(1, 7):
        metrics.add({"step": step, "loss": 3 - step / 10})
        if step % 2 == 0:
            metrics.add({"step": step, "dev_loss": 3 + abs(step - 4) / 10})
    return metrics


def test_lines_are_read_as_they_were_added(tmp_path: Path) -> None:
    lines = filled(tmp_path / "metrics.jsonl").read()
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert lines[2] == {"step": 2, "dev_loss": 3.2}
    assert Metrics(tmp_path / "absent.jsonl").read() == []


def test_incomplete_metrics_line_is_skipped(tmp_path: Path) -> None:
    metrics = filled(tmp_path / "metrics.jsonl")
    whole = metrics.path.read_bytes()
    metrics.path.write_bytes(whole[:-9] + b"\xc3")
    assert [line["step"] for line in metrics.read()] == [1, 2, 2, 3, 4, 4, 5, 6]


def test_cut_removes_lines_after_a_step(tmp_path: Path) -> None:
    metrics = filled(tmp_path / "metrics.jsonl")
    metrics.path.write_bytes(metrics.path.read_bytes() + b'{"step": 7, "lo')
    metrics.cut(4)
    assert [line["step"] for line in metrics.read()] == [1, 2, 2, 3, 4, 4]
    metrics.add({"step": 5, "loss": 2.5})
    assert metrics.read()[-1] == {"step": 5, "loss": 2.5}
    metrics.cut(0)
    assert metrics.path.read_bytes() == b""


def test_metrics_write_error_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        Metrics(tmp_path / "absent" / "metrics.jsonl").add({"step": 1})
    assert caught.value.where == str(tmp_path / "absent" / "metrics.jsonl")
