"""The "always" answers of one project, in a file of the user that only the user may read."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.permissions import command_line
from harness.permissions.permission import Kind, Permission, visible
from harness.support import json_state


class Always(BaseModel):
    """What the user allows in a project without being asked again.

    Attributes:
        subject: beginning of a command, or "" for all of them; a folder or file; the name of a
            tool; "" for all skills of the project.
        skill: the only skill that this is allowed for, or "".
    """

    model_config = ConfigDict(frozen=True, defer_build=True, extra="ignore")
    kind: Kind
    subject: str = ""
    skill: str = ""

    def __str__(self) -> str:
        what = self.subject
        if self.kind == "run":
            what = f"commands that begin with `{what}`" if what else "single commands"
        elif self.kind == "activate":
            what = what or "skills"
        elif _is_place(self.kind) and Path(what).is_dir():
            what = f"everything below {what}"
        elif self.kind == "instructions":
            what = f"of AGENTS.md in {what}"
        return visible(f"{self.kind} {what}{f' for /{self.skill}' if self.skill else ''}")

    def covers(self, wanted: Permission, project: Path) -> bool:
        """Return True if this answer allows what is wanted."""
        if wanted.kind != self.kind or self.skill not in ("", wanted.skill):
            return False
        if self.kind == "run":
            inside = [project] if wanted.folder is None else [project, wanted.folder]
            return command_line.starts_with(wanted.subject, self.subject, inside)
        if not _is_place(self.kind):
            everything = self.kind == "activate" and not self.subject
            return everything or wanted.subject == self.subject
        path = Path(wanted.subject).resolve()
        # Files of git make its commands run programs.
        of_git = self.kind == "write" and ".git" in (part.casefold() for part in path.parts)
        return not of_git and path.is_relative_to(Path(self.subject).resolve())


def in_project(wanted: Permission, project: Path) -> Always | None:
    """Return what "always in this project" means; None if it has to be asked about each time."""
    kind, subject = wanted.kind, wanted.subject
    if kind == "run":
        start = command_line.prefix(subject)
        return None if start is None else Always(kind=kind, subject=shlex.join(start))
    if _is_place(kind):
        path = Path(subject).resolve()
        # All of the project, or of a folder around it, is more than was asked about.
        wide = path.is_dir() or project.resolve().is_relative_to(path.parent)
        return Always(kind=kind, subject=str(path if wide else path.parent))
    return Always(kind=kind, subject="" if kind == "activate" else subject)


def for_skill(wanted: Permission, project: Path) -> Always | None:
    """Return what "always for this skill" means; None without a skill, or as `in_project`."""
    here = in_project(wanted, project)
    if here is None or not wanted.skill or wanted.kind == "activate":
        return None
    inside = Path(wanted.subject).resolve().is_relative_to(project.resolve())
    widest = {"run": "", "write": str(project.resolve()) if inside else here.subject}
    return Always(
        kind=wanted.kind, subject=widest.get(wanted.kind, here.subject), skill=wanted.skill
    )


def _is_place(kind: Kind) -> bool:
    return kind in ("read", "write")


class Answers:
    """The stored answers of a project.

    Args:
        file: JSON file of all projects, which maps each folder to its answers.
    """

    def __init__(self, file: Path, project: Path) -> None:
        self._file, self._project = file, str(project.resolve())

    def given(self) -> list[Always]:
        """Return the answers in the order in which they were given; a damaged file has none."""
        return self._read()[0].get(self._project, [])

    def add(self, answer: Always) -> None:
        """Store an answer.

        Raises:
            OutputError: the file cannot be written.
        """
        self._replace(lambda known: [*(one for one in known if one != answer), answer])

    def remove(self, answers: list[Always]) -> None:
        """Forget answers; raises as `add` does."""
        self._replace(lambda known: [one for one in known if one not in answers])

    def damage(self) -> str:
        """Return what is wrong with the file and what follows, in one line, or ""."""
        damage = self._read()[1]
        return f"{self._file} {damage}, so every call is asked about" if damage else ""

    def _replace(self, change: Callable[[list[Always]], list[Always]]) -> None:
        known, damage = self._read()
        if damage:
            json_state.set_aside(self._file)
        known[self._project] = change(known.get(self._project, []))
        content = {
            project: [one.model_dump(exclude_defaults=True) for one in answers]
            for project, answers in known.items()
            if answers
        }
        json_state.write(self._file, content, "the permission", mode=0o600)

    def _read(self) -> tuple[dict[str, list[Always]], str]:
        """Return the answers by project, and what is wrong with the file."""
        try:
            stored = json_state.load(self._file)
        except json_state.Damaged as exc:
            return {}, str(exc)
        try:
            return {
                project: [Always.model_validate(one, strict=True) for one in answers]
                for project, answers in (stored or {}).items()
            }, ""
        except (ValidationError, AttributeError, TypeError):
            return {}, "does not map folders to permissions"
