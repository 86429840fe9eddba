"""AGENTS.md of a project and of the folders around it, as part of the system message.

It is the project's text and not the user's, so it is read only once they have allowed that for the
project, which `/permissions` lists and revokes.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.api.skill import Call
from harness.errors import OutputError
from harness.permissions.answers import Always, Answers
from harness.runs import consent
from harness.support.reading.bounded_files import read_text

NAME = "AGENTS.md"
MAX_BYTES = 32_000
"""Maximum size of a file."""
MOST_FOLDERS = 32


@dataclass(frozen=True, slots=True)
class InstructionFile:
    """The AGENTS.md of one folder."""

    path: Path
    text: str


@dataclass(slots=True)
class ProjectInstructions:
    """Reads the files for each turn, and reports and asks once."""

    _reported: set[str] = field(default_factory=set)
    _refused: set[str] = field(default_factory=set)

    def read(self, call: Call) -> Sequence[InstructionFile]:
        """Return the files of the call's project, that of the project itself first.

        None if the user does not allow them to be read.
        """
        project = call.settings.project_dir.resolve()
        root = _root(project)
        paths = [path for folder in _folders(project, root) if (path := folder / NAME).exists()]
        if not paths or not self._allowed(call, root, paths):
            return ()
        files = []
        for path in paths:
            try:
                if not path.resolve().is_relative_to(root):
                    raise OSError(0, "it is a link to elsewhere")
                files.append(InstructionFile(path, read_text(path, MAX_BYTES)))
            except (OSError, RuntimeError, UnicodeDecodeError) as exc:
                reason = getattr(exc, "strerror", None) or exc
                self._report(call, f"{path} is not read: {reason}")
        return files

    def for_model(self, files: Sequence[InstructionFile], room: int, call: Call) -> str:
        """Return the part of the system message within `room` bytes, the nearest file last."""
        parts: list[str] = []
        for file in files:
            content = file.text.strip().encode()
            if len(content) > room:
                name = consent.in_one_line(str(file.path))
                self._report(call, f"{name} is cut to {room:,} bytes: the model's context is small")
            kept = content[:room].decode(errors="ignore")
            room -= len(kept.encode())
            if kept:
                where = html.escape(str(file.path))
                parts.insert(0, f'<instructions path="{where}">\n{kept}\n</instructions>')
        if not parts:
            return ""
        return "\n\n".join(["The user follows these instructions in this project:", *parts])

    def _allowed(self, call: Call, root: Path, paths: Sequence[Path]) -> bool:
        answers = Answers(call.settings.permissions_file, call.settings.project_dir)
        wanted = Always(kind="instructions", subject=str(root))
        if wanted in answers.given():
            return True
        names = " and ".join(consent.in_one_line(str(path)) for path in paths)
        if call.confirm is None:
            self._report(
                call,
                f"{names}: not read, since nobody is here to allow instructions of the project; "
                "a session in this folder asks once",
            )
            return False
        if str(root) in self._refused:
            return False
        if not call.confirm(f"{names}: instructions of this project for models. Follow them?"):
            self._refused.add(str(root))
            return False
        try:
            answers.add(wanted)
        except OutputError as exc:
            self._report(call, str(exc))
        return True

    def _report(self, call: Call, notice: str) -> None:
        if notice not in self._reported:
            self._reported.add(notice)
            call.screen.notice(notice)


def _root(project: Path) -> Path:
    """Return the folder of the git repository that the project is in, or else the project."""
    around = [project, *project.parents][:MOST_FOLDERS]
    return next((folder for folder in around if (folder / ".git").exists()), project)


def _folders(project: Path, root: Path) -> list[Path]:
    return [f for f in (project, *project.parents) if f.is_relative_to(root)]
