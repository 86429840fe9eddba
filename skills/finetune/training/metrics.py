"""metrics.jsonl: the measurements of a training run, one per line.

A training line has step, epoch, loss, learning_rate, grad_norm; tokens (of prompts and completions,
without padding) and seconds since the line before, without evaluation and saving;
tokens_per_second; and peak_bytes, the peak memory so far: on a GPU that allocated by torch, else
the process's resident set. An evaluation line has step, epoch and dev_loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import OutputError
from harness.runs import targets

NAME = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Metrics:
    """The file."""

    path: Path

    def read(self) -> list[dict[str, Any]]:
        """Return the lines, without one that a killed process left incomplete."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        lines = []
        for line in text.splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and isinstance(found.get("step"), int):
                lines.append(found)
        return lines

    def cut(self, step: int) -> None:
        """Remove the lines after `step`, which will be trained again.

        Raises:
            OutputError: the file cannot be written.
        """
        kept = [_line(line) for line in self.read() if line["step"] <= step]
        targets.write_text(self.path, "".join(kept))

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line, and flush it to the operating system.

        Raises:
            OutputError: the disk is full, or the like.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(line))
        except OSError as exc:
            raise OutputError(f"not written: {exc.strerror or exc}", where=str(self.path)) from exc


def peak_bytes() -> int:
    """Return the peak memory of this process, as described above."""
    import sys

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
