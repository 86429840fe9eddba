"""The folders of training runs: their stages and losses."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.support.reading.bounded_files import read_text
from skills.finetune.run.run_dir import MANIFEST
from skills.finetune.training.metrics import NAME, Metrics

if TYPE_CHECKING:
    from skills.serve.state import State

MOST_BYTES = 10_000_000


class Losses(NamedTuple):
    """Steps with the loss of training, and of the dev rows."""

    train: Sequence[tuple[int, float]]
    dev: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A training run.

    Attributes:
        key: names it in addresses.
        stages: the entries of its manifest, in the order performed.
    """

    key: str
    folder: Path
    stages: Mapping[str, Mapping[str, Any]]
    run: Mapping[str, Any]

    @property
    def dev_digest(self) -> str:
        """The digest of the prepared dev rows, or the key of the run if none is recorded."""
        outputs = _mapping(self.stages.get("prepare"), "outputs")
        return str(_mapping(outputs, "prepared/dev.jsonl").get("sha256", self.key))

    def losses(self) -> Losses:
        """Return the finite losses so far."""
        lines = Metrics(self.folder / NAME).read()
        train, dev = (
            [(line["step"], line[name]) for line in lines if _is_finite(line.get(name))]
            for name in ("loss", "dev_loss")
        )
        return Losses(train, dev)


def run_folders(state: State) -> list[RunFolder]:
    """Return the runs in the working folder, in its folders, and of the shipped models."""
    here, shipped = state.workspace, state.settings.shipped_registry.parent
    manifests = [here / MANIFEST, *sorted(here.glob(f"*/{MANIFEST}"))]
    manifests += sorted(shipped.glob(f"*/{MANIFEST}"))
    found = []
    for path in dict.fromkeys(one.resolve() for one in manifests):
        try:
            content = json.loads(read_text(path, MOST_BYTES)) if path.is_file() else None
        except (OSError, ValueError, RecursionError):
            continue
        stages, run = (_mapping(content, name) for name in ("stages", "run"))
        if stages and all(isinstance(one, dict) for one in stages.values()):
            digest = hashlib.sha256(str(path).encode(errors="replace")).hexdigest()[:12]
            found.append(RunFolder(digest, path.parent, stages, run))
    return found


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _mapping(content: Any, name: str) -> dict[str, Any]:
    value = content.get(name) if isinstance(content, dict) else None
    return value if isinstance(value, dict) else {}
