"""metrics.jsonl: what a training run has measured, a line at a time.

A line of training has step, epoch, loss, learning_rate, grad_norm; tokens (of prompts and
completions, without padding) and seconds since the line before, without the time for measuring and
saving; tokens_per_second; and peak_bytes, the most memory until then: on a GPU what torch has
allocated there, else the process's resident set. A line of measuring has step, epoch and dev_loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.errors import OutputError
from harness.runs import targets

NAME = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Metrics:
    """The file."""

    path: Path

    def read(self) -> list[dict[str, Any]]:
        """The lines; one that a killed process has left unfinished is passed over."""
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
        """Take back what came after `step`, which will be trained again.

        Raises:
            OutputError: the file cannot be written.
        """
        kept = [line for line in self.read() if line["step"] <= step]
        text = "".join(_line(line) for line in kept).encode()

        def write(file: IO[bytes]) -> None:
            file.write(text)

        targets.write(self.path, write)

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line; it is with the system when this returns.

        Raises:
            OutputError: the disk is full, or the like.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(line))
        except OSError as exc:
            raise OutputError(f"not written: {exc.strerror or exc}", where=str(self.path)) from exc


def peak_bytes() -> int:
    """The most memory that this process has had: see above."""
    import sys

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # there is none on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"
