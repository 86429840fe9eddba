"""The word lists of phrases.yaml."""

from __future__ import annotations

import functools
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness.support import yaml_models


class Phrases(BaseModel):
    """Word lists.

    Attributes:
        stock: phrases that models write to fill a move; the gate `filler` rejects them.
        filler: clauses that are appended to the moves of a "padded" probe.
        opposites: pairs of words that are exchanged in a "meaning-turned" probe.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stock: tuple[str, ...]
    filler: tuple[str, ...]
    opposites: tuple[tuple[str, str], ...]


@functools.cache
def phrases() -> Phrases:
    """Return the lists of phrases.yaml."""
    return yaml_models.load(Path(__file__).with_name("phrases.yaml"), Phrases)
