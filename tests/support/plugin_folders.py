"""Plugin folders and entry points, and an application that loads them."""

import dataclasses
import io
import textwrap

from harness.cli.app import App
from harness.runs.frontend import Frontend
from harness.terminal.console import Screen
from harness.testing import fake_settings

GOOD = """
from harness import Call, Result, Skill, hookimpl

class Good(Skill):
    name = "{name}"
    summary = "works"
    text = "optional"

    def run(self, call):
        return Result("good: " + call.text)

@hookimpl
def register_skills(register):
    register(Good())
"""


def plugin(folder, name, code):
    folder = folder / name
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(f"---\nname: {name}\ndescription: a test\n---\n")
    (folder / "plugin.py").write_text(textwrap.dedent(code))
    return folder


def entry_point(folder, name, code, skill_md=""):
    """Create an installed package with one entry point, as a folder for sys.path."""
    package = folder / name.replace("-", "_")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(textwrap.dedent(code))
    if skill_md:
        (package / "SKILL.md").write_text(skill_md)
    info = folder / f"{package.name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[harness.skills]\n{name} = {package.name}\n")
    return folder


def lenient(tmp_path, *, bare=False, deadline=20.0, **how):
    """An application that records failures; `how` is passed to its frontend."""
    settings = dataclasses.replace(
        fake_settings(tmp_path), strict_plugins=False, plugin_deadline=deadline
    )
    screen = Screen(io.StringIO(), io.StringIO())
    return App(settings, Frontend("test", **how), screen, bare=bare)
