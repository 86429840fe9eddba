"""The option `--framework` of the commands that read or write annotations."""

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
"""The task of models that annotate in the built-in framework or in any framework."""

FrameworkOption = Annotated[
    Path | None,
    Field(
        description="moves other than the eight built in: a YAML file, or the name of a framework "
        "from a plugin"
    ),
]


def framework_file(given: Path | None, named: Mapping[str, Path]) -> Path | None:
    """Return the file of the selected framework, or None for the built-in framework.

    Args:
        given: the value of `--framework`: a name or a path. If a plugin provides a framework of
            this name, a file of this name is ignored.
        named: the files of the frameworks that plugins provide, by name.

    Raises:
        InputError: there is no framework and no file of this name.
    """
    if given is None:
        return None
    if (path := named.get(str(given))) is not None:
        return path
    if len(given.parts) == 1 and not given.suffix and not given.exists():
        hint = (
            f"Plugins provide {', '.join(sorted(named))}." if named else "No plugin provides one."
        )
        raise InputError(f"there is no framework or file {given}", hint=hint)
    return given


def selected_framework(given: Path | None, named: Mapping[str, Path]) -> Framework:
    """Read the selected framework.

    Args:
        given: the value of `--framework`: a name or a path.
        named: the files of the frameworks that plugins provide, by name.

    Raises:
        InputError: the framework does not exist, or its file is not valid.
    """
    from skills.nanda import framework

    path = framework_file(given, named)
    return framework.nanda() if path is None else framework.load(path)


def task_with(framework: Framework) -> str:
    """Return the task of the models for this framework only: "annotate/NAME".

    The task for the built-in framework is "annotate".
    """
    from skills.nanda.framework import nanda

    return TASK if framework.digest == nanda().digest else f"{TASK}/{framework.name}"


def task_of(framework: Framework, registry: Registry) -> str:
    """Return the task with which the registry lists models for a framework.

    It is "annotate/NAME" if a model has this task, and "annotate" otherwise.
    """
    own = task_with(framework)
    return own if any(own in entry.tasks for entry in registry.models.values()) else TASK
