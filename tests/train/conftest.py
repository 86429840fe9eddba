"""Fixtures of the tests that train."""

from __future__ import annotations

from pathlib import Path

import pytest
from finetune_base import tiny_base


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Skip this folder where no training is selected, since its modules import torch."""
    return True if config.option.markexpr != "train" else None


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny base model with random weights."""
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")
