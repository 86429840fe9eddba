"""The options of a skill whose work can run on a cluster: `--on`, `--actors`, ..."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.api.skill import SkillOptions


class ClusterOptions(SkillOptions):
    """Options that decide where the models of a run are loaded; the harness itself reads them.

    Their defaults are HARNESS_ON and the section `cluster` of the registry.
    """

    manner: ClassVar[frozenset[str]] = frozenset({"on", "actors", "slots", "cpus", "gpus"})
    takes_ray_data: ClassVar[bool] = False
    """True if `--on ray-data` is taken: the skill has a pipeline, which loads models itself."""

    on: str | None = Field(
        None,
        description="run on a Ray cluster: ray://HOST:10001, HOST:6379, ray on this machine, or "
        "local; ray-data for a folder of parts",
    )
    actors: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="with --on, how many models to load; default: as many as fit",
    )
    slots: int | None = Field(
        None, ge=1, le=256, description="with --on, parallel requests of each actor"
    )
    cpus: int | None = Field(None, ge=1, description="with --on, CPUs of each actor; default: 4")
    gpus: float | None = Field(None, ge=0, description="with --on, GPUs of each actor")
