"""SKILL.md of the public Agent Skills specification: front matter and a body of instructions.

Reading is lenient, as the specification asks of clients: a file is refused only if its front matter
cannot be read or has no description; every other fault is a diagnostic that is kept and shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UsageError

FIELDS = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
# Whole lines of three hyphens alone end the front matter: a "---" inside a value is a value.
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)(?:\r?\n)?^---[ \t]*$\r?\n?", re.S | re.M)


@dataclass(frozen=True, slots=True)
class SkillFile:
    """A SKILL.md that can be used.

    Attributes:
        name: the slash command, from the front matter or else the folder.
        body: the instructions, without the front matter.
        problems: what does not follow the specification.
    """

    path: Path
    name: str
    description: str
    body: str
    metadata: dict[str, Any]
    problems: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.path.parent


def read(path: Path) -> SkillFile:
    """Read a SKILL.md.

    Raises:
        UsageError: it cannot be read, has no front matter or description, or no usable name.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"cannot be read: {exc}", where=str(path)) from exc
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise UsageError("has no front matter between two lines of ---", where=str(path))
    fields = _fields(match[1], path)
    description = str(fields.get("description") or "").strip()
    if not description:
        raise UsageError("has no description", where=str(path))
    name = str(fields.get("name") or path.parent.name)
    if not NAME.fullmatch(name):
        raise UsageError(
            f"the name {name!r} is not lower-case letters, digits and hyphens", where=str(path)
        )
    problems = tuple(_problems(fields, name, description, path))
    metadata = fields.get("metadata")
    return SkillFile(
        path=path,
        name=name,
        description=description,
        body=text[match.end() :].strip(),
        metadata=metadata if isinstance(metadata, dict) else {},
        problems=problems,
    )


def _fields(front_matter: str, path: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(front_matter)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = mark.line + 2 if mark else 1  # the front matter starts on the file's second line
        problem = getattr(exc, "problem", None) or exc
        raise UsageError(f"front matter is not YAML: {problem}", where=f"{path}:{line}") from exc
    if not isinstance(fields, dict):
        raise UsageError("front matter is no mapping", where=str(path))
    return fields


def _problems(fields: dict[str, Any], name: str, description: str, path: Path) -> list[str]:
    problems = [f"unknown field {key!r}" for key in fields if key not in FIELDS]
    if not fields.get("name"):
        problems.append("no name; the folder's is used")
    elif name != path.parent.name:
        problems.append(f"the name {name!r} is not the folder's, {path.parent.name!r}")
    if len(name) > 64:
        problems.append(f"the name has {len(name)} characters, 64 are allowed")
    if len(description) > 1024:
        problems.append(f"the description has {len(description)} characters, 1024 are allowed")
    if len(str(fields.get("compatibility") or "")) > 500:
        problems.append("compatibility has more than 500 characters")
    if not isinstance(fields.get("metadata", {}), dict):
        problems.append("metadata is no mapping")
    return problems
