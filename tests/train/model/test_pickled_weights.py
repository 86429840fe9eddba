"""A base with pickled weights, which could run code, is refused and not opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from finetune_base import tiny_base
from finetune_training import work_in

from harness.errors import InputError

pytestmark = pytest.mark.train


class Payload:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.witness,)


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base")
    import torch

    from skills.finetune.training.trainer import load_model

    (base / "model.safetensors").unlink()
    torch.save({"payload": Payload(tmp_path / "witness")}, base / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"the base cannot be loaded: .*safetensors"):
        load_model(base, work_in(tmp_path / "run", base).recipe)
    assert not (tmp_path / "witness").exists()
