"""Create the files of a new skill from templates, completely or not at all."""

from __future__ import annotations

import contextlib
import secrets
import shutil
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


def check_name(name: str) -> None:
    """Refuse a name that the Agent Skills specification does not allow.

    Raises:
        UsageError: the name is not allowed; the hint suggests a similar name.
    """
    if not skill_md.NAME.fullmatch(name):
        what = f"the name {name!r} is not lower-case letters, digits and single hyphens"
    elif len(name) > LONGEST_NAME:
        what = f"the name has {len(name)} characters, {LONGEST_NAME} are allowed"
    else:
        return
    raise UsageError(what, hint=f"Try `/new-skill {skill_md.similar(name) or 'summarize'}`.")


def files(name: str, kind: Kind) -> dict[str, str]:
    """Return the text of each file of a new skill, by path. The skill summarizes texts."""
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


def check_place(folder: Path) -> None:
    """Check that a folder does not exist.

    Raises:
        OutputError: the folder exists.
    """
    try:
        exists = folder.is_symlink() or folder.exists()
    except (OSError, RuntimeError) as exc:
        raise _not_created(folder, exc) from exc
    if exists:
        raise OutputError(
            "exists already",
            where=str(folder),
            hint="Choose another name, or move the existing folder away.",
        )


def make(folder: Path, contents: Mapping[str, str], finish: Callable[[Path], None]) -> None:
    """Create a folder with these files; after an error, remove it again.

    Args:
        finish: called after the folder is in place.

    Raises:
        OutputError: the folder cannot be written.
        Exception: whatever `finish` raises.
    """
    parents = [parent for parent in folder.parents if not parent.exists()]
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
            with contextlib.suppress(OSError):  # the folder was not created, or is not empty
                parent.rmdir()
        if isinstance(exc, OSError):
            raise _not_created(folder, exc) from exc
        raise


def _not_created(folder: Path, exc: Exception) -> OutputError:
    reason = exc.strerror if isinstance(exc, OSError) else exc
    return OutputError(f"cannot be created: {reason}", where=str(folder))
