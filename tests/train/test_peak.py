"""The planned peak of memory, compared with that of a real training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from finetune_base import smollm2

from harness.settings import CODE_ROOT

pytestmark = pytest.mark.train


def agent(folder: Path, line: str, *options: str) -> str:
    """Run a command in a process of its own, as the peak is that of the process."""
    command = [sys.executable, str(CODE_ROOT / "agent.py"), *options, line]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.timeout(900)
def test_a_training_takes_what_was_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step, computed in float32 as on a CPU without fast bfloat16."""
    pytest.importorskip("bitsandbytes", reason="needs the finetune extra")
    smollm2()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HARNESS_CONFIG", str(tmp_path / "config"))
    gold = CODE_ROOT / "examples" / "gold.csv"
    agent(tmp_path, f"/finetune dataset --gold {gold} save to train.jsonl")
    options = "--preset smollm2-cpu --out ft --set dev_share=0 --max-steps 1 --batch 4"
    agent(tmp_path, f"/finetune prepare train.jsonl {options}")
    agent(tmp_path, "/finetune train ft")
    plan: dict[str, Any] = json.loads(agent(tmp_path, "/finetune plan ft", "--json"))
    memory = plan["memory"]
    assert plan["adapted"] == [
        "this CPU does not support bfloat16 efficiently: computing in float32"
    ]
    assert memory["measured_peak"] == pytest.approx(memory["needed"], rel=0.15)
