"""What a plugin may not be: written for other hooks, or bringing what could not be used later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.agent_skills.skill_md import NAME
from harness.api.formats import Format
from harness.api.hookspecs import API_VERSION
from harness.errors import UsageError
from harness.plugins.skill_checks import SUFFIX

_VERSION = re.compile(r"(\d+)(?:\.(\d+))?")


def check_api(plugin: Any) -> None:
    """Refuse a plugin whose `harness_api` is not what this harness has.

    A plugin that states none is taken for one of this version.

    Raises:
        UsageError: it needs another major version, a later minor one, or states no version at all.
    """
    stated = getattr(plugin, "harness_api", None)
    if stated is None:
        return
    needs = _VERSION.fullmatch(stated) if isinstance(stated, str) else None
    if needs is None:
        raise UsageError(f'harness_api is {stated!r}, and should be like "{API_VERSION}"')
    major, minor = map(int, API_VERSION.split("."))
    if int(needs[1]) < major:
        raise UsageError(
            f"it is written for version {stated} of the hooks, and this harness has {API_VERSION}",
            hint="It needs a newer release of the plugin, or an older harness.",
        )
    if (int(needs[1]), int(needs[2] or 0)) > (major, minor):
        raise UsageError(
            f"it needs version {stated} of the hooks, and this harness has {API_VERSION}",
            hint="It needs a newer nanda-harness.",
        )


def check_framework(name: Any, path: Any) -> None:
    """Refuse a framework that no option could name, or that is not there.

    Raises:
        UsageError: naming it.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(f"the framework name {name!r} is not lower-case letters, digits, hyphens")
    if not isinstance(path, Path) or not path.is_file():
        raise UsageError(f"the framework {name} is no file: {path}")


def check_format(found: Any) -> None:
    """Refuse what is no usable format.

    Raises:
        UsageError: naming it.
    """
    if not isinstance(found, Format):
        raise UsageError(f"{type(found).__name__} is no harness.Format")
    suffix = getattr(found, "suffix", None)
    if not isinstance(suffix, str) or not SUFFIX.fullmatch(suffix):
        raise UsageError(f'the suffix {suffix!r} of a format is not like ".bib"')
    if not str(getattr(found, "summary", "")).strip():
        raise UsageError(f"the format {suffix} has no summary")
    if isinstance(getattr(found, "skills", None), str):
        raise UsageError(f"the format {suffix}: skills is one string, and should be a set of names")
