"""/skills: list, install, test, trust and disable skills."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.agent_skills.skill_file import NAME
from harness.api.skill import Call, Result, SkillOptions
from harness.cli.app_command import AppCommand, CommandData
from harness.errors import NothingFound, UsageError, did_you_mean
from harness.plugins.locations import owner
from harness.plugins.trust import InstalledSkills, is_unchanged
from harness.terminal.rendering import table

LISTED = ("skills", "untrusted", "disabled", "shadowed")


class Installation(CommandData):
    """The origin of an installed skill, and whether its folder is unchanged."""

    source: str
    date: str
    sha256: str
    unchanged: bool


class SkillEntry(CommandData):
    """A skill, or a name for which no skill is loaded.

    Attributes:
        origin: the origin of a loaded, disabled or shadowed skill; "" if the skill is not found.
        folder: the folder of a plugin that is not trusted.
        by: for a shadowed skill, the origin of the other skill with the same name.
    """

    name: str
    summary: str | None = None
    origin: str | None = None
    owner: str | None = None
    folder: str | None = None
    by: str | None = None
    problems: list[str] | None = None
    file: str | None = None
    front_matter: dict[str, Any] | None = None
    for_users: bool | None = None
    for_models: bool | None = None
    installed: Installation | None = None


class SkillCatalogue(CommandData):
    """The result of /skills.

    For a name or text, the result contains only the matching skills. For a name, it also contains
    the failures of plugins with this name.
    """

    name: str | None = None
    skills: list[SkillEntry]
    frameworks: list[dict[str, str]] | None = None
    formats: list[dict[str, str]] | None = None
    listeners: list[dict[str, str]] | None = None
    untrusted: list[SkillEntry]
    disabled: list[SkillEntry]
    shadowed: list[SkillEntry]
    failures: list[dict[str, str]] | None = None
    remarks: list[str] | None = None


class Skills(AppCommand):
    """The command /skills, which lists, installs, tests, trusts and disables skills."""

    name = "skills"
    summary = "List, search, install, test and disable skills"
    usage = "NAME|TEXT|SOURCE"
    details = """\
    NAME shows the origin, fields and problems of a skill. TEXT searches the names, origins and
    descriptions of skills, and lists the skills that contain all of its words. `/skills add SOURCE`
    shows the skills of a folder, a git repository (a URL) or a host (https://HOST), and copies them
    into your own folder without running any code."""
    text = "optional"
    subcommands = {
        "add": "install skills from a folder, a git repository or a host",
        "check": "compare installed skills with their sources, and show the differences",
        "update": "install newer versions of skills, after showing the differences",
        "sync": "install the skills of a skills.lock with exactly the recorded content",
        "remove": "delete a skill from your own folder",
        "test": "try the requests in a skill's evals/evals.json; exit with 1 if a request fails",
        "trust": "trust a plugin in its current state, and load it",
        "disable": "do not load plugins and skills of this name any more",
        "enable": "load plugins and skills of this name again",
    }

    class Add(SkillOptions):
        skill: list[str] = Field([], description="install only this skill; may be repeated")
        all_skills: bool = Field(False, alias="all", description="install all skills of the source")

    Options = Add

    variants = {"add": Add}

    output = {"": SkillCatalogue}

    def run(self, call: Call) -> Result:
        text = call.text.strip()
        name = text.removeprefix("/")
        if not call.subcommand:
            found = self._catalogue()
            return self._found(name, found) if name else found.as_result(_overview(found))
        from harness.cli import skill_evals, skill_installation

        match call.subcommand:
            case "add":
                return skill_installation.add(self._app, text, call)
            case "check" | "update":
                return skill_installation.check(self._app, name, call)
            case "sync":
                return skill_installation.sync(self._app, text, call)
        if not name:
            raise UsageError(
                f"/skills {call.subcommand} needs a name", hint="`/skills` lists all skills."
            )
        match call.subcommand:
            case "remove":
                return skill_installation.delete(self._app, name, call)
            case "test":
                return skill_evals.test(self._app, name, call)
            case "trust":
                return self._trust(name)
            case "disable":
                return self._disable(name, call)
        return self._enable(name)

    def _enable(self, name: str) -> Result:
        if name not in (disabled := self._app.catalogue.disabled):
            names = ", ".join(sorted(disabled)) or "none"
            raise UsageError(f"{name!r} is not disabled", hint=f"Disabled names: {names}.")
        self._app.discovery.disabled.remove(name)
        self._app.reload()
        return Result(f"{name} is enabled.", {"enabled": name})

    def _catalogue(self) -> SkillCatalogue:
        catalogue, settings = self._app.catalogue, self._app.settings
        skills = []
        for found in catalogue.skills.values():
            entry = SkillEntry(
                name=found.name,
                summary=found.summary,
                origin=found.origin,
                owner=owner(found.origin, settings),
                problems=list(found.problems),
            )
            if file := found.file:
                entry.file, entry.front_matter = str(file.path), dict(file.fields)
                entry.for_users, entry.for_models = file.for_users, file.for_models
            skills.append(entry)
        return SkillCatalogue(
            skills=skills,
            frameworks=[
                {"name": name, "path": str(found.path), "origin": found.origin}
                for name, found in catalogue.frameworks.items()
            ],
            formats=[
                {"suffix": suffix, "summary": found.format.summary, "origin": found.origin}
                for suffix, found in catalogue.formats.items()
            ],
            listeners=[{"name": one.name, "origin": one.origin} for one in catalogue.listeners],
            untrusted=[
                SkillEntry(
                    name=name,
                    summary=file.description,
                    folder=str(file.folder),
                    problems=list(file.problems),
                    front_matter=dict(file.fields),
                )
                for name, file in catalogue.untrusted.items()
            ],
            disabled=[
                SkillEntry(name=name, origin=origin)
                for name, origin in sorted(catalogue.disabled.items())
            ],
            shadowed=[SkillEntry(**asdict(one)) for one in catalogue.shadowed],
            failures=[asdict(failure) for failure in catalogue.failures],
            remarks=list(catalogue.remarks),
        )

    def _found(self, text: str, catalogue: SkillCatalogue) -> Result:
        """Return all facts about the skill with this name, or all skills that match the text.

        Raises:
            NothingFound: no skill matches.
        """
        named = _selected(catalogue, lambda entry: entry.name == text)
        failures = [one for one in catalogue.failures or () if one["name"] == text]
        if failures or any(getattr(named, key) for key in LISTED):
            installed = InstalledSkills(self._app.settings.skills_lock).read()
            for entry in (*named.skills, *named.untrusted):
                folder = Path(entry.folder or Path(entry.file or "").parent)
                record = installed.get(folder.name)
                if record and folder.parent == self._app.settings.own_skills:
                    unchanged = is_unchanged(folder, record["sha256"])
                    entry.installed = Installation(**record, unchanged=unchanged)
            named.name, named.failures = text, failures
            return named.as_result(_in_full(named))
        words = text.casefold().split()

        def matches(entry: SkillEntry) -> bool:
            shown = f"{entry.name} {entry.origin or ''} {entry.summary or ''}".casefold()
            return all(word in shown for word in words)

        found = _selected(catalogue, matches)
        if not any(getattr(found, key) for key in LISTED):
            near = did_you_mean(text, [*self._app.catalogue.skills, *self.subcommands])
            raise NothingFound(
                f"no skill matches {text[:80]!r}", hint=near or "`/skills` lists all skills."
            )
        lines = [_skill_table(found.skills)] if found.skills else []
        lines += [f"{_untrusted(one)}: {one.summary}" for one in found.untrusted]
        return found.as_result("\n".join([*lines, *_left_out(found)]))

    def _trust(self, name: str) -> Result:
        if name in self._app.catalogue.skills:  # the loaded plugin may have been edited
            self._app.reload()
        if name not in self._app.catalogue.untrusted:
            waiting = ", ".join(sorted(self._app.catalogue.untrusted)) or "none"
            raise UsageError(
                f"there is no untrusted plugin {name!r}", hint=f"Untrusted plugins: {waiting}."
            )
        self._app.discovery.trust(name)
        return Result(f"/{name} is trusted in its current state.", {"trusted": name})

    def _disable(self, name: str, call: Call) -> Result:
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a valid name", hint="`/skills` lists all skills.")
        if name in self._app.catalogue.framework:
            raise UsageError(f"/{name} is part of the harness and cannot be disabled")
        if name not in (known := self._app.discovery.names()):
            near = did_you_mean(name, sorted(known))
            call.screen.notice(f"no plugin or skill named {name} is known. {near}".rstrip())
        self._app.discovery.disabled.add(name)
        self._app.reload()
        return Result(f"{name} is disabled. `/skills enable {name}` undoes it.", {"disabled": name})


def _selected(catalogue: SkillCatalogue, chosen: Callable[[SkillEntry], bool]) -> SkillCatalogue:
    return SkillCatalogue(**{key: [*filter(chosen, getattr(catalogue, key))] for key in LISTED})


def _overview(found: SkillCatalogue) -> str:
    """Return a table of the skills, and lines about the other contents of the catalogue."""
    lines = [_skill_table(found.skills)]
    for skill in (*found.skills, *found.untrusted):
        lines += [f"/{skill.name}: {problem}" for problem in skill.problems or ()]
    lines += map(_untrusted, found.untrusted)
    for one in found.frameworks or ():
        lines.append(f"framework {one['name']} ({one['origin']}): {one['path']}")
    for one in found.formats or ():
        lines.append(f"format {one['suffix']} ({one['origin']}): {one['summary']}")
    for one in found.listeners or ():
        lines.append(f"has hooks: {one['name']} ({one['origin']})")
    return "\n".join([*lines, *_left_out(found)])


def _in_full(found: SkillCatalogue) -> str:
    """Return lines with the origin, the fields and the problems of each skill in `found`."""
    lines = []
    for skill in (*found.skills, *found.untrusted):
        lines += [f"/{skill.name}: {skill.summary}", ""]
        if skill.folder:
            lines.append(_untrusted(skill))
        rows = [*_facts(skill)]
        left = max((len(key) for key, _ in rows), default=0) + 2
        lines += [f"{key:<{left}}{value}" for key, value in rows]
        lines += [f"problem: {problem}" for problem in skill.problems or ()]
    return "\n".join([*lines, *_left_out(found)])


def _facts(skill: SkillEntry) -> Iterator[tuple[str, str]]:
    if skill.origin is not None:
        yield "from", skill.origin
    if installed := skill.installed:
        yield "installed", f"{installed.source} on {installed.date}"
        changed = "" if installed.unchanged else " (the folder has been changed since)"
        yield "sha256", f"{installed.sha256}{changed}"
    if skill.file is not None:
        callers = ["users"] * bool(skill.for_users) + ["models"] * bool(skill.for_models)
        yield "called by", " and ".join(callers) or "nobody"
    for key, value in (skill.front_matter or {}).items():
        if key not in ("name", "description"):
            parts = value.items() if isinstance(value, dict) else ()
            shown = ", ".join(f"{k}: {v}" for k, v in parts) if parts else str(value)
            yield key, " ".join(shown.split())


def _skill_table(skills: Iterable[SkillEntry]) -> str:
    return table(
        ("skill", "from", ""), [(f"/{one.name}", one.origin, one.summary) for one in skills]
    )


def _untrusted(waiting: SkillEntry) -> str:
    name = waiting.name
    return f"/{name} ({waiting.folder}) is not trusted: read it, then `/skills trust {name}`"


def _left_out(found: SkillCatalogue) -> Iterator[str]:
    """Yield lines about disabled skills, shadowed skills and failed plugins, and the remarks."""
    for off in found.disabled:
        yield f"{off.name} ({off.origin or 'not found'}) is disabled; `/skills enable {off.name}`"
    for one in found.shadowed:
        by = f"the skill from {one.by} has the same name"
        yield f"/{one.name} ({one.origin}) is not loaded: {by}"
    yield from found.remarks or ()
    for failure in found.failures or ():
        yield f"left out: {failure['name']} ({failure['origin']}): {failure['reason']}"
        if failure["traceback"]:
            yield failure["traceback"].rstrip()
