"""Write docs/commands.md and docs/reference.md, or check them.

    python docs/generate.py [--check]

The one is made of what `/help` prints, the other of the code's own signatures and docstrings, so
that neither can say anything else than the program does.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import reference

from harness.app import App
from harness.execution import Door
from harness.help import program_help, skill_help
from harness.screen import Screen
from harness.settings import Settings

PAGE = Path(__file__).resolve().parent / "commands.md"
HEAD = """\
# Commands

Made by `python docs/generate.py` from what the program itself prints; do not edit.
"""


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        settings = Settings(here, here, here, here / "registry.yaml", here, strict_plugins=True)
        app = App(settings, Door("test"), Screen(io.StringIO(), io.StringIO()))
    skills = sorted((f.skill for f in app.catalogue.skills.values()), key=lambda s: s.name)
    parts = [HEAD, "## agent.py --help\n", _block(program_help(skills))]
    for skill in skills:
        parts += [f"## /{skill.name}\n", _block(skill_help(skill))]
    return "\n".join(parts)


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


def main() -> int:
    made = {PAGE: page(), PAGE.with_name("reference.md"): reference.page()}
    if "--check" not in sys.argv[1:]:
        for path, text in made.items():
            path.write_text(text, encoding="utf-8")
        return 0
    wrong = [
        path.name
        for path, text in made.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for name in wrong:
        print(f"{name} is not what the program says: run `make docs`", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
