"""The option `--framework` of all skills that read or write annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.models.registry import Registry
    from skills.nanda.framework import Framework

TASK = "annotate"
"""The task of models that annotate with the built-in framework, or with any."""

FrameworkOption = Annotated[
    Path | None,
    Field(
        description="moves other than the eight built in: a YAML file, or the name of a framework "
        "from a plugin"
    ),
]


def framework_file(given: Path | None, named: Mapping[str, Path]) -> Path | None:
    """Return the file of the selected framework; None for the built-in one.

    Args:
        named: the files provided by plugins. A name takes precedence over a file of that name.

    Raises:
        InputError: there is neither.
    """
    if given is None:
        return None
    if (path := named.get(str(given))) is not None:
        return path
    if len(given.parts) == 1 and not given.suffix and not given.exists():
        names = f"Plugins provide {', '.join(sorted(named))}." if named else "No plugin has any."
        raise InputError(f"there is no framework or file {given}", hint=names)
    return given


def selected_framework(given: Path | None, named: Mapping[str, Path]) -> Framework:
    """Read the selected framework.

    Raises:
        InputError: the framework does not exist, or it is not valid.
    """
    from skills.nanda import framework

    path = framework_file(given, named)
    return framework.nanda() if path is None else framework.load(path)


def task_with(framework: Framework) -> str:
    """Return the task of models that annotate with this framework alone: "annotate/NAME".

    For the built-in framework, it is the task of all annotators.
    """
    from skills.nanda.framework import nanda

    return TASK if framework.digest == nanda().digest else f"{TASK}/{framework.name}"


def task_of(framework: Framework, registry: Registry) -> str:
    """Return the task by which a model of the registry is found for a framework."""
    own = task_with(framework)
    return own if any(own in entry.tasks for entry in registry.models.values()) else TASK
