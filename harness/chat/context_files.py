"""Add files to the context of a chat: files that a line attaches, and AGENTS.md.

A line attaches a file with @PATH, and stdin with @- or with a - at the end of the line.

AGENTS.md is a text of the project, and not of the user. The file is read only if the user has
given permission for the project. `/permissions` lists and revokes this permission.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.api.skill import Call
from harness.errors import InputError, OutputError
from harness.permissions import Always, Answers, in_one_line
from harness.places import INSTRUCTIONS_FILE
from harness.support import text_input
from harness.support.bounded_files import read_text

MAX_BYTES = 200_000
"""Maximum total size in bytes of the files that a line attaches, about 30,000 words."""
_LAST = re.compile(r"(?:\A|\s)-\s*\Z")
_ATTACHED = re.compile(r"(?:\A|\s)@(?:\"([^\"\n]+)\"|'([^'\n]+)'|(\S+))")
STDIN = "-"
_END = ".,;:!?)"
"""Punctuation that is removed from the end of a name after @, unless the whole name is a file."""
_TABLES = (".parquet", ".xlsx", ".ods", ".xls")
_NO_TEXT = (*_TABLES, ".pdf", ".docx", ".doc", ".odt", ".png", ".jpg", ".jpeg", ".gif", ".zip")
_FILES = re.compile(
    r"\.(?:txt|md|rst|tex|bib|csv|tsv|jsonl?|ya?ml|toml|html?|xml|css|log|sql|sh|py|js|ts|rs|go|c|h"
    r"|cpp|java)\Z",
    re.IGNORECASE,
)
MAX_INSTRUCTIONS = 32_000
"""Maximum size of an AGENTS.md file in bytes."""


def with_files(call: Call) -> str:
    """Return the text of a call, followed by the attached files; announce each file.

    A word after @ that is not a file and does not look like a file name is text, such as @you or
    @angular/core. If the call's source is "both", stdin is also appended, unless it is empty. A
    text that comes from stdin attaches no files.

    Raises:
        InputError: a file is missing or not text, the files together are too large, or the line
            attaches stdin, but stdin is empty or not available.
    """
    text, read_stdin = call.text, call.read_stdin
    if call.source == "stdin":
        return text
    dash = _LAST.search(text) if read_stdin else None
    names = [*_names(text), *([STDIN] if dash else [])]
    parts, left = [text[: dash.start()] if dash else text], MAX_BYTES
    for name in dict.fromkeys([*names, *([STDIN] if call.source == "both" else [])]):
        if name != STDIN:
            content = _content(name)
        elif read_stdin is None:
            raise InputError(
                "stdin is not available here", where=f"@{STDIN}", hint="Attach a file."
            )
        elif not (content := read_stdin()).strip():
            if STDIN in names:
                raise InputError("stdin is empty", where=f"@{STDIN}")
            continue
        left -= len(content.encode())
        if left < 0:
            raise InputError(
                f"the attached files have more than {MAX_BYTES // 1000} KB",
                where=name,
                hint="Attach fewer files, or only parts of them.",
            )
        call.screen.notice(f"-> @{name} ({len(content):,} characters)")
        tag = "file"
        # The content must not contain the closing tag. The text after a closing tag would pass as
        # text of the user.
        while f"</{tag}" in content:
            tag += "-"
        end = "" if content.endswith("\n") else "\n"
        parts.append(f'<{tag} path="{html.escape(name)}">\n{content}{end}</{tag}>')
    return "\n\n".join(parts)


def _names(text: str) -> Iterator[str]:
    """Yield the names of the files that a line attaches with @, in order."""
    for match in _ATTACHED.finditer(text):
        name = match[1] or match[2] or match[3]
        if match[3] and not text_input.is_file(name):
            name = name.rstrip(_END)
        known = name == STDIN or name.lower().endswith(_NO_TEXT) or _FILES.search(name)
        if known or text_input.is_file(text_input.at_home(name)):
            yield name


def _content(name: str) -> str:
    if not name.lower().endswith(_NO_TEXT):
        return text_input.read_text(Path(name), what="an attached text")
    if name.lower().endswith(_TABLES):
        hint = f"`/annotate {name}` reads the table; `/help` lists the other commands."
    else:
        hint = "Save the text of the file as .txt or .md."
    raise InputError("chat reads text files only", where=f"@{name}", hint=hint)


@dataclass(slots=True)
class ProjectInstructions:
    """Reads the AGENTS.md files for each turn, and asks for permission only once.

    The argument `report` of the methods is a function that shows a notice to the user.
    """

    _refused: set[str] = field(default_factory=set)

    def read(self, call: Call, report: Callable[[str], None]) -> Sequence[tuple[Path, str]]:
        """Return the AGENTS.md files with their texts, the file in the project's folder first.

        The search covers the project's folder and its parents up to the root of the git repository.
        Outside of a repository, it covers only the project's folder. Files that cannot be read are
        reported and left out. Without the user's permission to read the files, the result is empty.
        """
        project = call.settings.project_dir.resolve()
        around = [project, *project.parents]
        repositories = (folder for folder in around if (folder / ".git").exists())
        root = next(repositories, project)
        inside = [folder for folder in around if folder.is_relative_to(root)]
        paths = [path for folder in inside if (path := folder / INSTRUCTIONS_FILE).exists()]
        if not paths or not self._allowed(call, root, paths, report):
            return ()
        files = []
        for path in paths:
            try:
                if not path.resolve().is_relative_to(root):
                    raise OSError(0, "it is a link out of the repository or project")
                files.append((path, read_text(path, MAX_INSTRUCTIONS)))
            except (OSError, RuntimeError, UnicodeDecodeError) as exc:
                reason = getattr(exc, "strerror", None) or exc
                report(f"{path} is not read: {reason}")
        return files

    def for_model(
        self, files: Sequence[tuple[Path, str]], room: int, report: Callable[[str], None]
    ) -> str:
        """Return the text of the files for the system message, or "" without files.

        The order of `files` is reversed, so that the file in the project's folder comes last. The
        texts are cut so that they have at most `room` bytes together.
        """
        parts: list[str] = []
        for path, text in files:
            content = text.strip().encode()
            if len(content) > room:
                name = in_one_line(str(path))
                report(f"{name} is cut to {room:,} bytes: the model's context is small")
            kept = content[:room].decode(errors="ignore")
            room -= len(kept.encode())
            if kept:
                where = html.escape(str(path))
                parts.insert(0, f'<instructions path="{where}">\n{kept}\n</instructions>')
        if not parts:
            return ""
        return "\n\n".join(["The user follows these instructions in this project:", *parts])

    def _allowed(
        self, call: Call, root: Path, paths: Sequence[Path], report: Callable[[str], None]
    ) -> bool:
        answers = Answers(call.settings.permissions_file, call.settings.project_dir)
        wanted = Always(kind="instructions", subject=str(root))
        if wanted in answers.given():
            return True
        names = " and ".join(in_one_line(str(path)) for path in paths)
        if call.confirm is None:
            report(
                f"{names}: not read, since nobody is here to allow instructions of the project; "
                "a session in this folder asks once"
            )
            return False
        if str(root) in self._refused:
            return False
        if not call.confirm(f"{names}: this project's instructions for models. Follow them?"):
            self._refused.add(str(root))
            return False
        try:
            answers.add(wanted)
        except OutputError as exc:
            report(str(exc))
        return True
