"""Write the help texts and the registry of exit codes into docs/commands.md, or check them.

    python docs/generate.py [--check]

The page is made of what `/help` prints, so it cannot say anything else than the program does.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

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
    made = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    print(f"{PAGE.name} is not what the program prints: run `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
