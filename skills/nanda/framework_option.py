"""The option `--framework`, the same for all skills that read or write annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from harness.errors import InputError

if TYPE_CHECKING:
    from skills.nanda.framework import Framework

FrameworkOption = Annotated[
    Path | None,
    Field(
        description="other moves than the eight that ship: a YAML file, or the name of one that a "
        "plugin brings"
    ),
]


def framework_file(given: Path | None, named: Mapping[str, Path]) -> Path | None:
    """The file of the framework that is asked for; None where none is, which means Nanda's.

    Args:
        named: the files that plugins bring. A name stands before a file that is called like it.

    Raises:
        InputError: there is neither.
    """
    if given is None:
        return None
    if (path := named.get(str(given))) is not None:
        return path
    if len(given.parts) == 1 and not given.suffix and not given.exists():
        names = f"There are {', '.join(sorted(named))}." if named else "No plugin brings one."
        raise InputError(f"there is no framework {given}, and no such file", hint=names)
    return given


def chosen(given: Path | None, named: Mapping[str, Path]) -> Framework:
    """The framework that is asked for, read.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    from skills.nanda import framework

    path = framework_file(given, named)
    return framework.nanda() if path is None else framework.load(path)
