"""SKILL.md of the public Agent Skills specification: front matter and a body of instructions.

Two ways to read one. Others' files are read leniently, as the specification asks of clients: one is
refused only if its front matter cannot be read, or gives no description or no usable name; every
other fault is a diagnostic that is kept and shown. What ships is read strictly: any fault is an
error.

At the start the front matter alone is read, so that a long body costs nothing; `SkillFile.body`
reads the file again when the skill is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.agent_skills.front_matter import FrontMatter, parse
from harness.agent_skills.resources import is_inside
from harness.errors import UsageError

FILE = "SKILL.md"
FIELDS = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
LIMITS = {"name": 64, "description": 1024, "compatibility": 500}
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
HEAD = 64 * 1024
"""Bytes in which the front matter must end."""
BODY = 256 * 1024
"""Bytes of a whole file that is read as instructions: far more than any model takes."""
_FRONT_MATTER = re.compile(
    # Whole lines of three hyphens alone end it: a "---" inside a value is a value.
    rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)",
    re.S | re.M,
)


@dataclass(frozen=True, slots=True)
class SkillFile:
    """A SKILL.md that can be used.

    Attributes:
        name: the slash command, from the front matter or else the folder.
        description: what the skill does and when to use it, in one line.
        fields: the front matter, as text.
        problems: what does not follow the specification.
    """

    path: Path
    name: str
    description: str
    fields: Mapping[str, Any]
    problems: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def body(self) -> str:
        """The instructions as they are now.

        Raises:
            UsageError: they cannot be read, are no text, or far too long.
        """
        try:
            size = self.path.stat().st_size
            if size > BODY:
                raise UsageError(
                    f"has {size} bytes, which is more than {BODY}", where=str(self.path)
                )
            content = self.path.read_bytes()
            match = _FRONT_MATTER.match(content)
            return content[match.end() if match else 0 :].decode().strip()
        except OSError as exc:
            raise UsageError(f"cannot be read: {exc.strerror}", where=str(self.path)) from exc
        except UnicodeDecodeError as exc:
            raise UsageError(f"cannot be read: {exc}", where=str(self.path)) from exc


def read(path: Path, *, strict: bool = False, instructs: bool | None = None) -> SkillFile:
    """Read the front matter of a SKILL.md.

    Args:
        instructs: whether its body is all there is to the skill; None where that is so if no
            plugin.py lies beside it.

    Raises:
        UsageError: it cannot be read, has no front matter or description, or no usable name; or,
            if `strict`, it does not follow the specification in whatever way.
    """
    if not strict and path.is_symlink() and not is_inside(path.parent, path):
        raise UsageError("is a link out of the skill's folder", where=str(path))
    head = _head(path)
    match = _FRONT_MATTER.match(head)
    if match is None:
        within = f" within its first {HEAD // 1024} KB" if len(head) == HEAD else ""
        raise UsageError(f"has no front matter between two lines of ---{within}", where=str(path))
    try:
        text = match[1].decode()
    except UnicodeDecodeError as exc:
        raise UsageError(f"cannot be read: {exc}", where=str(path)) from exc
    front = parse(text, path, lenient=not strict)
    name, name_problems = _name(front, path)
    description, description_problems = _description(front, path)
    problems = [*front.problems, *name_problems, *description_problems, *_others(front, path)]
    empty = not head[match.end() :].strip() and len(head) < HEAD
    if empty and (not _is_plugin(path) if instructs is None else instructs):
        problems.append("there are no instructions below the front matter")
    if strict and problems:
        raise UsageError(
            "; ".join(problems),
            where=str(path),
            hint="Correct it: only what does not ship is taken as it is.",
        )
    return SkillFile(path, name, description, front.fields, tuple(problems))


def _head(path: Path) -> bytes:
    """The beginning of the file."""
    try:
        if not path.is_file():
            raise UsageError("is no file", where=str(path))
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as exc:
        raise UsageError(f"cannot be read: {exc.strerror}", where=str(path)) from exc


def _is_plugin(path: Path) -> bool:
    return (path.parent / "plugin.py").is_file()


def _name(front: FrontMatter, path: Path) -> tuple[str, list[str]]:
    """The name that the skill has here, and what is wrong with the one it gives itself."""
    given, folder = front.text("name"), path.parent.resolve().name
    linked = path.parent.name  # the name that a link gives the folder counts as well
    if given and NAME.fullmatch(given):
        if given in (folder, linked):
            return given, _too_long("name", given)
        problem = f"the name {given!r} is not the folder's, {linked!r}"
        return given, [problem, *_too_long("name", given)]
    wrong = (
        f"the name {given!r} is not lower-case letters, digits and single hyphens"
        if given
        else "no name"
    )
    if not NAME.fullmatch(linked):
        raise UsageError(f"{wrong}, nor is the folder's, {linked!r}", where=str(path))
    return linked, [f"{wrong}; the folder's is used"]


def _description(front: FrontMatter, path: Path) -> tuple[str, list[str]]:
    """The description in one line, without what a terminal would obey, and its faults."""
    given = front.text("description")
    if not given:
        kind = front.kind("description")
        raise UsageError(
            f"its description is a {kind}, not text" if kind else "has no description",
            where=front.where("description"),
        )
    shown = "".join(c for c in given if c.isprintable() or c.isspace())
    problems = [] if shown == given else ["the description has characters that cannot be printed"]
    shown = " ".join(shown.split())
    if not shown:
        raise UsageError("has no description", where=front.where("description"))
    limit = LIMITS["description"]
    return shown[:limit], problems + _too_long("description", given)


def _others(front: FrontMatter, path: Path) -> list[str]:
    problems = [f"unknown field {key!r}" for key in front.fields if key not in FIELDS]
    for key in ("name", "license", "compatibility", "allowed-tools"):
        if (kind := front.kind(key)) is not None:
            problems.append(f"{key} is a {kind}, not text")
    problems += _too_long("compatibility", front.text("compatibility"))
    if "compatibility" in front.fields and front.fields["compatibility"] == "":
        problems.append("compatibility is empty")
    metadata = front.fields.get("metadata", {})
    if not isinstance(metadata, dict):
        problems.append("metadata is no mapping")
    elif not all(isinstance(value, str) for value in metadata.values()):
        problems.append("metadata has values that are not text")
    if path.name != FILE:
        problems.append(f"the file is called {path.name}, not {FILE}")
    return problems


def _too_long(key: str, value: str) -> list[str]:
    limit = LIMITS[key]
    if len(value) <= limit:
        return []
    return [f"the {key} has {len(value)} characters, {limit} are allowed"]
