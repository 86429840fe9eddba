"""/new-skill: create a working skill from a template."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path

from pydantic import Field

from harness.agent_skills import scaffold
from harness.agent_skills.scaffold import Kind
from harness.api.skill import Call, Result, SkillOptions
from harness.cli.app_command import AppCommand
from harness.errors import ModelUnavailable, UsageError
from harness.plugins.trust import TrustStore
from harness.settings import Settings

EXAMPLE = Path("examples", "abstract.txt")
SENTENCES = (
    "Snow melts in April. Melting snow fills the rivers. The rivers flood some roads. "
    "Boats then bring the mail. Nobody complains."
)
"""The text of the suggested first run, in a project without the file `EXAMPLE`."""


class NewSkill(AppCommand):
    """The command /new-skill, which creates a working skill from a template."""

    name = "new-skill"
    summary = "Create a working skill with its test, for you to change"
    usage = "NAME"
    details = """\
    The new skill summarizes a text or a file. Without a chat model, it quotes sentences of the
    text. A skill made with --prompt-only needs a chat model. A skill is created as ./skills/NAME,
    and trusted in that state; after an edit, trust it again with `--trust` or
    `/skills trust NAME`. A package is created as ./NAME, for pip to install."""

    class Options(SkillOptions):
        prompt_only: bool = Field(
            False, description="create only a SKILL.md with instructions for the producer model"
        )
        package: bool = Field(False, description="create a Python package that pip can install")
        own: bool = Field(
            False, description="create the skill in your configuration folder, for all projects"
        )
        folder: Path | None = Field(None, description="create the skill in this folder")

    def run(self, call: Call) -> Result:
        name, settings, options = call.text.strip().removeprefix("/"), call.settings, call.options
        pairs = (("prompt_only", "package"), ("own", "package"), ("own", "folder"))
        for one, other in pairs:
            if getattr(options, one) and getattr(options, other):
                raise UsageError(f"--{one.replace('_', '-')} and --{other} do not go together")
        kind: Kind = "package" if options.package else "plugin"
        if options.prompt_only:
            kind = "prompt"
        scaffold.check_name(name)
        self._check_free(name, kind)
        if options.folder is not None:
            parent = settings.project_dir / options.folder
        elif options.own:
            parent = settings.own_skills
        else:
            parent = settings.project_dir / ("" if options.package else "skills")
        folder = parent / name
        contents = scaffold.files(name, kind)
        needs_trust = kind == "plugin" and not options.own
        trust = TrustStore(settings.trust_file).trust
        scaffold.make(folder, contents, trust if needs_trust else lambda made: None)
        steps = _steps(name, kind, folder, settings)
        lines = [f"Created {_shown(folder, settings)}: {', '.join(contents)}."]
        lines += [f"{f'{what}:':<12}{command}" for what, command in steps]
        lines.append("In a session, run /reload first.")
        if kind == "prompt":
            try:
                call.models.resolve("chat", {})
            except ModelUnavailable as exc:
                lines.append(
                    f"It needs a model that can chat: {exc.message}. Get one with Ollama "
                    "(`/models get qwen2.5:7b`), or leave out --prompt-only: the skill then works "
                    "without such a model."
                )
        if needs_trust:
            again = f"add --trust once, or `/skills trust {name}`"
            lines.append(f"It is trusted in its current state. After an edit, {again}.")
        folders = settings.skill_folders
        found = any(folder.resolve().is_relative_to(place.resolve()) for place in folders)
        if not found and kind != "package":
            lines.append(f"It is found once its folder is in {folders[0]}.")
        data = {
            "name": name,
            "kind": kind,
            "folder": str(folder),
            "files": list(contents),
            "next": [command for _, command in steps],
        }
        return Result("\n".join(lines), data)

    def _check_free(self, name: str, kind: Kind) -> None:
        """Raise UsageError if a name is disabled, or is the name of an existing skill.

        A package may have the name of a skill that exists as a folder.
        """
        catalogue = self._app.catalogue
        catalogue.check_enabled(name)
        origin = ""
        if name in catalogue.skills:
            origin = catalogue.skills[name].origin
        elif name in catalogue.untrusted:
            origin = str(catalogue.untrusted[name].folder)
        if not origin or (kind == "package" and Path(origin, "SKILL.md").is_file()):
            return
        raise UsageError(
            f"the name /{name} is already taken ({origin})", hint="`/skills` lists all skills."
        )


def _steps(name: str, kind: Kind, folder: Path, settings: Settings) -> list[tuple[str, str]]:
    """Return the next steps for the user: what to do, and the command to type."""
    python = shlex.quote(_shown(Path(sys.executable), settings))
    found = shutil.which("python")
    if found and Path(found) == Path(sys.executable):
        python = "python"
    started, program = Path(sys.argv[0]), "nanda"
    if started.name == "agent.py":
        program = f"{python} {shlex.quote(_shown(started.absolute(), settings))}"
    where = shlex.quote(_shown(folder, settings))
    example = EXAMPLE if (settings.project_dir / EXAMPLE).is_file() else SENTENCES
    steps = [("Run it", f'{program} "/{name} {example}"')]
    if kind == "package":
        start = "./" * folder.is_relative_to(settings.project_dir)  # else `where` is absolute
        steps.insert(0, ("Install it", f"{python} -m pip install {start}{where}"))
    if kind != "prompt":
        get = "" if importlib.util.find_spec("pytest") else f"{python} -m pip install pytest && "
        steps.append(("Test it", f"{get}{python} -m pytest {where}"))
    return steps


def _shown(path: Path, settings: Settings) -> str:
    """Return a path as text, relative to the project if the path is in the project."""
    if path.is_relative_to(settings.project_dir):
        return str(path.relative_to(settings.project_dir))
    return str(path)
