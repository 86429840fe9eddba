"""Results of /finetune as models for programs (`Skill.output`)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from skills.reporting.outputs import Output


class Stages(Output):
    """What the stages have made."""

    out: str = Field(description="the folder of the run")
    stages: dict[str, dict[str, Any]] = Field(description="by name: seconds, outputs, facts")


class Plan(Output):
    """What a run needs; sizes in bytes, times in seconds."""

    recipe: dict[str, Any]
    adapted: list[str] = Field(description="settings that this machine requires")
    base: dict[str, Any]
    rows: dict[str, Any]
    steps: dict[str, Any]
    memory: dict[str, Any]
    disk: dict[str, Any]
    time: dict[str, Any]
    notes: list[str]
    refusals: list[str] = Field(description="why it cannot run here")


class Unregistered(Output):
    registry: str
    name: str
    files: list[str]
    asked_first: str | None = Field(description="the model that /annotate tries first now")
    ollama: list[str]


class Manifest(Output):
    """A training set: its rows, where they come from, and what is left out."""

    manifest: int
    rows: int
    sha256: str
    counts: dict[str, dict[str, Any]] = Field(description="rows by source")
    held_out: list[dict[str, Any]]
    tokens: dict[str, Any]
    left_out: list[dict[str, Any]]


OUTPUTS: dict[str, type[Output]] = {"": Stages, "plan": Plan, "unregister": Unregistered}
