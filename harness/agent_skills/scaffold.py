"""The files of a new skill, made from harness/templates and put in place whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Literal

from harness._version import __version__
from harness.agent_skills import skill_md
from harness.errors import OutputError, UsageError

Kind = Literal["plugin", "prompt", "package"]
TEMPLATES = Path(__file__).resolve().parent / "templates"
LONGEST_NAME = skill_md.LIMITS["name"]

_IN_A_FOLDER = {
    "imports": """\
from pathlib import Path

import pytest
from harness import InputError, InvalidReply, UsageError
from harness.testing import FakeModel, folder_skill, run_skill""",
    "skill": "folder_skill(Path(__file__).parent)",
}
_IN_A_PACKAGE = {
    "imports": """\
from pathlib import Path

import pytest
from harness import InputError, InvalidReply, UsageError
from harness.testing import FakeModel, run_skill

from $package.plugin import $class_name""",
    "skill": "$class_name()",
}


def check_name(name: str) -> None:
    """Refuse what the Agent Skills specification allows no skill to be called.

    Raises:
        UsageError: with the nearest name that it allows, if there is one.
    """
    if skill_md.NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    near = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_NAME].strip("-")
    if skill_md.NAME.fullmatch(name):
        what = f"the name has {len(name)} characters, {LONGEST_NAME} are allowed"
    else:
        what = f"the name {name!r} is not lower-case letters, digits and single hyphens"
    raise UsageError(what, hint=f"Try `/new-skill {near or 'summarize'}`.")


def files(name: str, kind: Kind) -> dict[str, str]:
    """The files of a skill that summarizes, until its author changes it, by their paths."""
    module = name.replace("-", "_")
    package = f"harness_{module}"
    if kind == "prompt":
        sources = {"SKILL.md": "prompt/SKILL.md"}
    elif kind == "plugin":
        sources = {
            "SKILL.md": "plugin/SKILL.md",
            "plugin.py": "plugin/plugin.py",
            "pytest.ini": "plugin/pytest.ini",
            f"test_{module}.py": "plugin/test.py",
        }
    else:
        sources = {
            ".gitignore": "package/gitignore",
            "README.md": "package/README.md",
            "pyproject.toml": "package/pyproject.toml",
            f"src/{package}/__init__.py": "package/init.py",
            f"src/{package}/plugin.py": "plugin/plugin.py",
            f"tests/test_{module}.py": "plugin/test.py",
        }
    words = {
        "name": name,
        "class_name": "".join(part.capitalize() for part in ["skill", *name.split("-")]),
        "package": package,
        "distribution": f"harness-{name}",
        "version": __version__,
    }
    places = _IN_A_PACKAGE if kind == "package" else _IN_A_FOLDER
    words |= {key: Template(text).substitute(words) for key, text in places.items()}
    return {path: _filled(source, words) for path, source in sources.items()}


def _filled(source: str, words: Mapping[str, str]) -> str:
    text = (TEMPLATES / f"{source}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(words)


def check_place(folder: Path) -> None:
    """Refuse a folder that is there already, or that cannot be made.

    Raises:
        OutputError: naming it.
    """
    try:
        if folder.is_symlink() or folder.exists():
            raise OutputError(
                "exists already", where=str(folder), hint="Choose another name, or move it away."
            )
        parent = next(p for p in folder.absolute().parents if p.exists())
    except (OSError, RuntimeError) as exc:
        raise _not_made(folder, exc) from exc
    if not parent.is_dir():
        raise OutputError(f"{parent} is no folder", where=str(folder))
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {parent} is not writable", where=str(folder))


def make(folder: Path, contents: Mapping[str, str], placed: Callable[[Path], None]) -> None:
    """Make the folder with these files; where anything fails, nothing of it stays.

    Args:
        placed: what is still to be done once the folder is in its place.

    Raises:
        OutputError: it cannot be written.
        Whatever `placed` raises.
    """
    parents = [parent for parent in folder.parents if not parent.exists()]
    # The dot keeps a discovery that runs meanwhile from finding half of it.
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.tmp")
    try:
        for name, text in contents.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        temporary.rename(folder)
        try:
            placed(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except BaseException as exc:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in parents:
            with contextlib.suppress(OSError):  # not made, or somebody has put something there
                parent.rmdir()
        if isinstance(exc, OSError):
            raise _not_made(folder, exc) from exc
        raise


def _not_made(folder: Path, exc: Exception) -> OutputError:
    reason = exc.strerror if isinstance(exc, OSError) else exc
    return OutputError(f"cannot be made: {reason}", where=str(folder))
