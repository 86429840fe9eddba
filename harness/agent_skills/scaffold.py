"""Create the files of a new skill from templates, completely or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Literal

from harness._version import __version__
from harness.agent_skills import skill_md
from harness.agent_skills.skill_file import NAME
from harness.errors import OutputError, UsageError

Kind = Literal["plugin", "prompt", "package"]
TEMPLATES = Path(__file__).resolve().parent / "templates"


def check_name(name: str) -> None:
    """Raise an error for a name that the Agent Skills specification does not allow.

    Raises:
        UsageError: the name is not allowed; the hint suggests a similar name.
    """
    if not NAME.fullmatch(name):
        what = f"the name {name!r} is not lower-case letters, digits and single hyphens"
    elif len(name) > (limit := skill_md.LIMITS["name"]):
        what = f"the name has {len(name)} characters, {limit} are allowed"
    else:
        return
    raise UsageError(what, hint=f"Try `/new-skill {skill_md.similar(name) or 'summarize'}`.")


def files(name: str, kind: Kind) -> dict[str, str]:
    """Return the text of each file of a new skill, by path. The new skill summarizes texts."""
    module = name.replace("-", "_")
    package = f"harness_{module}"
    words = {
        "name": name,
        "class_name": "".join(part.capitalize() for part in ["skill", *name.split("-")]),
        "package": package,
        "distribution": f"harness-{name}",
        "version": __version__,
    }
    templates: dict[Kind, dict[str, tuple[str, ...]]] = {
        "prompt": {"SKILL.md": ("prompt/SKILL.md",)},
        "plugin": {
            "SKILL.md": ("plugin/SKILL.md",),
            "plugin.py": ("plugin/plugin.py",),
            "pytest.ini": ("plugin/pytest.ini",),
            f"test_{module}.py": ("plugin/test_head.py", "plugin/test.py"),
        },
        "package": {
            ".gitignore": ("package/gitignore",),
            "README.md": ("package/README.md",),
            "pyproject.toml": ("package/pyproject.toml",),
            f"src/{package}/__init__.py": ("package/init.py",),
            f"src/{package}/plugin.py": ("plugin/plugin.py",),
            f"tests/test_{module}.py": ("package/test_head.py", "plugin/test.py"),
        },
    }
    contents = {}
    for path, parts in templates[kind].items():
        texts = ((TEMPLATES / f"{part}.tmpl").read_text(encoding="utf-8") for part in parts)
        contents[path] = Template("".join(texts)).substitute(words)
    return contents


def make(folder: Path, contents: Mapping[str, str], finish: Callable[[Path], None]) -> None:
    """Create a folder with the files in `contents`; after an error, remove the folder again.

    Args:
        contents: the text of each file, by its path in the folder.
        finish: called with the folder after its creation.

    Raises:
        OutputError: the folder exists or cannot be written, or `finish` raised an OSError.
        Exception: any other exception that `finish` raised.
    """
    if os.path.lexists(folder):
        raise OutputError(
            "exists already",
            where=str(folder),
            hint="Choose another name, or move the existing folder away.",
        )
    parents = [parent for parent in folder.parents if not os.path.exists(parent)]  # noqa: PTH110
    # Discovery skips folders whose name begins with a dot.
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.tmp")
    try:
        for name, text in contents.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        temporary.rename(folder)
        try:
            finish(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except BaseException as exc:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in parents:
            with contextlib.suppress(OSError):  # raised if the folder is missing, or not empty
                parent.rmdir()
        if isinstance(exc, OSError):
            raise OutputError(f"cannot be created: {exc.strerror}", where=str(folder)) from exc
        raise
