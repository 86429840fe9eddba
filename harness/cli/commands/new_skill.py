"""/new-skill: from nothing to a skill that works."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path

from pydantic import Field

from harness.agent_skills import scaffold
from harness.agent_skills.scaffold import Kind
from harness.api.skill import Call, Result, Skill, SkillOptions
from harness.cli.commands.host import Host
from harness.errors import UsageError
from harness.plugins.trust import TrustStore
from harness.settings import Settings

EXAMPLE = Path("examples", "abstract.txt")


class NewSkill(Skill):
    """Made from templates; what it makes runs, and passes its own test, as it is."""

    name = "new-skill"
    summary = "Make a new skill that works, with its test, for you to change"
    usage = "NAME"
    details = """\
    The skill summarizes a text or a file until you change it. It is made as ./skills/NAME, and is
    trusted as it is then; after an edit, `--trust` or `/skills trust NAME` does that again. A
    package is made as ./NAME, for pip to install."""
    logged = False
    tool = False

    class Options(SkillOptions):
        prompt_only: bool = Field(
            False, description="make a SKILL.md alone: a text that instructs the producer model"
        )
        package: bool = Field(False, description="make a project that pip installs")
        own: bool = Field(
            False, description="make it in your configuration folder, for every project"
        )
        folder: Path | None = Field(None, description="make it in this folder instead")

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, call: Call) -> Result:
        name = call.text.strip().removeprefix("/")
        kind = _kind(call.options)
        scaffold.check_name(name)
        self._check_free(name, kind)
        folder = _parent(call.options, call.settings) / name
        scaffold.check_place(folder)
        contents = scaffold.files(name, kind)
        asks_trust = kind == "plugin" and not call.options.own

        def trust(made: Path) -> None:
            if asks_trust:
                TrustStore(call.settings.trust_file).trust(made)

        scaffold.make(folder, contents, trust)
        steps = _steps(name, kind, folder, call.settings)
        text = _told(name, folder, list(contents), steps, call.settings, trusted=asks_trust)
        data = {
            "name": name,
            "kind": kind,
            "folder": str(folder),
            "files": list(contents),
            "next": [command for _, command in steps],
        }
        return Result(text, data)

    def _check_free(self, name: str, kind: Kind) -> None:
        """Refuse a name that a skill has, except to a package of a skill that lies in a folder."""
        catalogue = self._host.catalogue
        if name in catalogue.disabled:
            raise UsageError(
                f"the name /{name} is disabled, so nothing of that name would be loaded",
                hint=f"`/skills enable {name}`, or choose another name.",
            )
        origin = ""
        if name in catalogue.skills:
            origin = catalogue.skills[name].origin
        elif name in catalogue.untrusted:
            origin = str(catalogue.untrusted[name].folder)
        if not origin or (kind == "package" and Path(origin, "SKILL.md").is_file()):
            return
        raise UsageError(f"the name /{name} is taken by the one from {origin}", hint="`/skills`")


def _kind(options: NewSkill.Options) -> Kind:
    pairs = (("prompt_only", "package"), ("own", "package"), ("own", "folder"))
    for one, other in pairs:
        if getattr(options, one) and getattr(options, other):
            raise UsageError(f"--{one.replace('_', '-')} and --{other} do not go together")
    if options.prompt_only:
        return "prompt"
    return "package" if options.package else "plugin"


def _parent(options: NewSkill.Options, settings: Settings) -> Path:
    if options.folder is not None:
        return settings.project_dir / options.folder
    if options.own:
        return settings.own_skills
    return settings.project_dir if options.package else settings.project_dir / "skills"


def _steps(name: str, kind: Kind, folder: Path, settings: Settings) -> list[tuple[str, str]]:
    """What to do next, each with the command that does it."""
    python, where = _python(settings), shlex.quote(_shown(folder, settings))
    example = EXAMPLE if (settings.project_dir / EXAMPLE).is_file() else "FILE"
    steps = [("Run it", f'{_program(python, settings)} "/{name} {example}"')]
    if kind == "package":
        steps.insert(0, ("Install it", f"{python} -m pip install ./{where}"))
    if kind != "prompt":
        get = "" if importlib.util.find_spec("pytest") else f"{python} -m pip install pytest && "
        steps.append(("Test it", f"{get}{python} -m pytest {where}"))
    return steps


def _told(
    name: str,
    folder: Path,
    made: list[str],
    steps: list[tuple[str, str]],
    settings: Settings,
    *,
    trusted: bool,
) -> str:
    lines = [f"Made {_shown(folder, settings)}: {', '.join(made)}."]
    lines += [f"{f'{what}:':<12}{command}" for what, command in steps]
    lines.append("In a session, /reload comes first.")
    if trusted:
        again = f"add --trust once, or `/skills trust {name}`"
        lines.append(f"It is trusted as it is now. After an edit, {again}.")
    searched = any(folder.resolve().is_relative_to(f.resolve()) for f in settings.skill_folders)
    if not searched and "Install it" not in dict(steps):
        lines.append(f"It is found once its folder lies in {settings.skill_folders[0]}.")
    return "\n".join(lines)


def _shown(path: Path, settings: Settings) -> str:
    """The path as the user would type it."""
    if path.is_relative_to(settings.project_dir):
        return str(path.relative_to(settings.project_dir))
    return str(path)


def _python(settings: Settings) -> str:
    """This Python, as the user would type it."""
    found = shutil.which("python")
    if found and Path(found) == Path(sys.executable):
        return "python"
    return shlex.quote(_shown(Path(sys.executable), settings))


def _program(python: str, settings: Settings) -> str:
    """This program, as the user has started it."""
    started = Path(sys.argv[0])
    if started.name != "agent.py":
        return "nanda"
    return f"{python} {shlex.quote(_shown(started.absolute(), settings))}"
