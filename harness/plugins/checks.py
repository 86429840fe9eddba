"""Checks of what plugins register, apart from skills (`harness.plugins.skill_checks`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.agent_skills.skill_md import NAME
from harness.api.hookspecs import API_VERSION
from harness.errors import UsageError

SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,16}){1,2}")
_VERSION = re.compile(r"(\d+)(?:\.(\d+))?")


def check_api(plugin: Any) -> None:
    """Refuse a plugin whose `harness_api` is not supported; a plugin without one is accepted.

    Raises:
        UsageError: it needs another major version or a later minor one, or its version is invalid.
    """
    stated = getattr(plugin, "harness_api", None)
    if stated is None:
        return
    needs = _VERSION.fullmatch(stated) if isinstance(stated, str) else None
    if needs is None:
        raise UsageError(f'harness_api is {stated!r}; it must be like "{API_VERSION}"')
    major, minor = map(int, API_VERSION.split("."))
    if int(needs[1]) < major:
        raise UsageError(
            f"it is written for version {stated} of the hooks, and this harness has {API_VERSION}",
            hint="Install a newer release of the plugin, or an older harness.",
        )
    if (int(needs[1]), int(needs[2] or 0)) > (major, minor):
        raise UsageError(
            f"it needs version {stated} of the hooks, and this harness has {API_VERSION}",
            hint="Install a newer nanda-harness.",
        )


def check_framework(name: Any, path: Any) -> None:
    """Refuse a framework with an invalid name or a missing file.

    Raises:
        UsageError: with the name.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(
            f"the framework name {name!r} must be lower-case letters, digits and hyphens"
        )
    if not isinstance(path, Path) or not path.is_file():
        raise UsageError(f"the framework {name} has no such file: {path}")


def check_format(found: Any) -> None:
    """Refuse an invalid format.

    Raises:
        UsageError: with the attribute at fault.
    """
    from harness.api.formats import Format

    if not isinstance(found, Format):
        raise UsageError(f"{type(found).__name__} is not a harness.Format")
    suffix = getattr(found, "suffix", None)
    if not isinstance(suffix, str) or not SUFFIX.fullmatch(suffix):
        raise UsageError(f'the suffix {suffix!r} of a format is not like ".org"')
    if not str(getattr(found, "summary", "")).strip():
        raise UsageError(f"the format {suffix} has no summary")
    if isinstance(getattr(found, "skills", None), str):
        raise UsageError(f"the format {suffix}: skills is a string, not a set of names")
