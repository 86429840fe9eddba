"""Write what is made of the program and its tests into the documents, or check it.

    python docs/generate.py [--check]

docs/commands.md is made of what `/help` prints, docs/reference.md of the code's own signatures and
docstrings, so that neither can say anything else than the program does. The marked blocks of all
documents are cut from files that the tests run: docs/snippets.py.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout that these documents belong to

import reference  # noqa: E402
from snippets import fill  # noqa: E402

from harness.cli.app import App  # noqa: E402
from harness.cli.help import program_help, skill_help  # noqa: E402
from harness.runs.frontend import Frontend  # noqa: E402
from harness.settings import Settings  # noqa: E402
from harness.terminal.console import Screen  # noqa: E402

HERE = Path(__file__).resolve().parent
PAGE = HERE / "commands.md"
HEAD = """\
# Commands

Made by `python docs/generate.py` from what the program itself prints; do not edit.
"""


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        settings = Settings(here, here, here, here / "registry.yaml", here, strict_plugins=True)
        app = App(settings, Frontend("test"), Screen(io.StringIO(), io.StringIO()))
    found = app.catalogue.skills.values()  # what else is installed here is no part of the program
    skills = sorted((f.skill for f in found if f.origin == "built in"), key=lambda s: s.name)
    parts = [HEAD, "## agent.py --help\n", _block(program_help(skills))]
    for skill in skills:
        parts += [f"## /{skill.name}\n", _block(skill_help(skill))]
    return "\n".join(parts)


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


def main() -> int:
    made = {PAGE: page(), PAGE.with_name("reference.md"): reference.page()}
    for path in (HERE.parent / "README.md", *sorted(HERE.glob("*.md"))):
        if path not in made:
            made[path] = fill(path.read_text(encoding="utf-8"))
    wrong = [
        path
        for path, text in made.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for path in wrong:
            print(f"{path.name} is not what it is made of: run `make docs`", file=sys.stderr)
        return 1 if wrong else 0
    for path in wrong:
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
