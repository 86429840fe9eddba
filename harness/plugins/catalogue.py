"""The contributions of all plugins, and the plugins that were left out."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.agent_skills.skill_file import SkillFile
from harness.errors import UnknownSkill, UsageError, did_you_mean

if TYPE_CHECKING:
    from harness.api.hookspecs import Listener
    from harness.api.result import Format
    from harness.api.skill import Skill
    from harness.models.backend import Backend


MAX_REASON = 300
"""Maximum number of characters of a failure's reason."""
MAX_NOTICES = 10
"""Maximum number of failed plugins, and of shadowed skills, that are listed at start-up. `/skills`
lists all of them.
"""
BUILT_IN = "built in"
"""The origin of plugins that are part of the program."""
MOST_NAMED = 40
"""Maximum number of loaded skills for which the message about an unknown skill lists all names."""


@dataclass(frozen=True, slots=True)
class SkillSummary:
    """Name, summary and triggers of a skill, which are known without importing the skill."""

    name: str
    summary: str
    triggers: tuple[str, ...] = ()


@dataclass(slots=True)
class Found:
    """A skill and its origin.

    Attributes:
        imported: the skill, or None before its first use.
        origin: `BUILT_IN`, the name and version of a package, or the path of a folder.
        problems: deviations of the SKILL.md from the specification.
        file: the SKILL.md of the skill, or None if there is no SKILL.md.
        load: imports and returns the skill; None if `imported` is set from the beginning.
        indexed: the skill's name, summary and triggers from the plugin table, or None.
    """

    imported: Skill | None
    origin: str
    problems: tuple[str, ...] = ()
    file: SkillFile | None = None
    load: Callable[[], Skill] | None = None
    indexed: SkillSummary | None = None

    @property
    def skill(self) -> Skill:
        if self.imported is None:
            assert self.load is not None
            self.imported = self.load()
        return self.imported

    @property
    def name(self) -> str:
        return (self.indexed or self.skill).name

    @property
    def summary(self) -> str:
        return (self.indexed or self.skill).summary

    @property
    def for_users(self) -> bool:
        """True if the user may call the skill; False if only models may."""
        return self.file is None or self.file.for_users

    @property
    def triggers(self) -> tuple[str, ...]:
        return (self.indexed or self.skill).triggers


@dataclass(frozen=True, slots=True)
class FoundFramework:
    """The file of a framework and its origin."""

    path: Path
    origin: str


@dataclass(frozen=True, slots=True)
class FoundFormat:
    """A format and its origin."""

    format: Format
    origin: str


@dataclass(slots=True)
class Contributions:
    """The skills, backends, frameworks and formats of a plugin, and the listener for its hooks."""

    skills: list[Found] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)
    frameworks: dict[str, FoundFramework] = field(default_factory=dict)
    formats: list[FoundFormat] = field(default_factory=list)
    listener: Listener | None = None


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that was left out, with the reason in one line; `traceback` may be ""."""

    name: str
    origin: str
    reason: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A skill folder that is not loaded, since another skill already has the name.

    Attributes:
        origin: the path of the folder.
        by: the origin of the other skill.
    """

    name: str
    origin: str
    by: str


@dataclass(slots=True)
class Catalogue:
    """The result of discovery.

    Attributes:
        formats: the formats by suffix.
        untrusted: the SKILL.md of each plugin that is not loaded until the user trusts it, by name.
        disabled: the names that the user disabled, each with the origin of the skill, or "" if no
            skill has the name.
        shadowed: the skill folders that are not loaded, since another skill has the name.
        framework: the names of the harness's own commands, and of the skills of additional plugin
            objects. These names are not related to frameworks of moves.
        remarks: a line for each deprecated feature that a loaded plugin uses, each damaged file of
            the user's choices, and each folder of skills with very many subfolders.
        strict: True to raise the errors of plugins instead of recording failures.
        skipped: names of skills that are not added, but recorded in `disabled`.
    """

    skills: dict[str, Found] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    frameworks: dict[str, FoundFramework] = field(default_factory=dict)
    formats: dict[str, FoundFormat] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    failures: list[PluginFailure] = field(default_factory=list)
    untrusted: dict[str, SkillFile] = field(default_factory=dict)
    disabled: dict[str, str] = field(default_factory=dict)
    shadowed: list[Shadowed] = field(default_factory=list)
    framework: frozenset[str] = frozenset()
    remarks: list[str] = field(default_factory=list)
    strict: bool = False
    skipped: frozenset[str] = frozenset()

    def notices(self) -> Iterator[str]:
        """Yield the lines to print at start-up: failed plugins, shadowed skills, and remarks."""
        for failure in self.failures[:MAX_NOTICES]:
            yield f"plugin {failure.name} left out: {failure.reason} ({failure.origin}; /skills)"
        if (more := len(self.failures) - MAX_NOTICES) > 0:
            yield f"{more} more plugin{'s' * (more != 1)} left out (/skills)"
        if self.shadowed:
            names = ", ".join(f"/{one.name}" for one in self.shadowed[:MAX_NOTICES])
            rest = len(self.shadowed) - MAX_NOTICES
            names += f" and {rest} more" * (rest > 0)
            yield f"not loaded, since the names are taken: {names} (/skills)"
        yield from self.remarks

    def formats_for(self, skill: Skill) -> dict[str, FoundFormat]:
        """Return the formats of plugins that can save the records of a skill, by suffix."""
        return {
            suffix: found
            for suffix, found in self.formats.items()
            if skill.formats
            and suffix not in skill.saves
            and (not found.format.skills or skill.name in found.format.skills)
        }

    def check_for_users(self, name: str) -> None:
        """Raise UsageError if only models may call the skill."""
        if not self.skills[name].for_users:
            reason = f"/{name} is for models only: `user-invocable` is false"
            raise UsageError(reason, hint=f"`/skills {name}` shows the skill.")

    def check_enabled(self, name: str) -> None:
        """Raise UsageError if the user has disabled the name, so that no such skill is loaded."""
        if name in self.disabled:
            hint = f"`/skills enable {name}` allows it again."
            raise UsageError(f"the name /{name} is disabled", hint=hint)

    def unknown(self, name: str) -> UnknownSkill:
        """Return the error for a name that no loaded skill has."""
        disabled, untrusted = self.disabled, self.untrusted
        if name in disabled:
            return UnknownSkill(f"/{name} is disabled", hint=f"`/skills enable {name}` enables it.")
        if name in untrusted:
            return UnknownSkill(
                f"/{name} is not trusted",
                where=str(untrusted[name].folder),
                hint=f"Read its files, then run `/skills trust {name}`.",
            )

        def shown(near: str) -> str:
            return f"/{near}" + f" (disabled; `/skills enable {near}`)" * (near in disabled)

        known = sorted({*self.skills, *disabled, *untrusted})
        names = ", ".join(f"/{n}" for n in sorted(self.skills))
        few = len(self.skills) <= MOST_NAMED
        known_ones = f"There are {names}." if few else "`/skills TEXT` searches the skills."
        hint = f"{did_you_mean(name, known, shown)} {known_ones}".lstrip()
        return UnknownSkill(f"there is no skill /{name}", hint=hint)

    def fail(self, name: str, origin: str, exc: BaseException, *, traced: bool = True) -> None:
        """Record why a plugin is left out; with `strict`, raise the error instead.

        Args:
            exc: the error that occurred while the plugin was loaded.
            traced: True to record the traceback.
        """
        if self.strict:
            raise exc
        from pluggy import PluginValidationError

        kind = "" if isinstance(exc, UsageError) else f"{type(exc).__name__}: "
        full = "".join(traceback.format_exception(exc)) if traced else ""
        lines = str(exc).strip().splitlines() or [""]
        message = lines[-1 if isinstance(exc, PluginValidationError) else 0]
        reason = "".join(c for c in f"{kind}{message}".removesuffix(": ") if c.isprintable())
        self.failures.append(PluginFailure(name, origin, reason[:MAX_REASON], full))

    def try_add(self, name: str, origin: str, plugin: Contributions) -> None:
        """Add all contributions of a plugin, or record a failure."""
        try:
            self.add(plugin)
        except UsageError as exc:
            self.fail(name, origin, exc)

    def add(self, plugin: Contributions) -> None:
        """Add all contributions of a plugin; after an error, the catalogue is unchanged.

        Raises:
            UsageError: a name or suffix is already taken, or the plugin registers a skill twice.
        """
        skills, off = self._new_skills(plugin.skills)
        for name in plugin.frameworks.keys() & self.frameworks.keys():
            origin = self.frameworks[name].origin
            raise UsageError(f"there is already a framework {name}, from {origin}")
        formats = dict(self.formats)
        for added in plugin.formats:
            suffix = added.format.suffix
            if (other := formats.get(suffix)) is not None:
                raise UsageError(f"there is already a format {suffix}, from {other.origin}")
            formats[suffix] = added
        for backend in plugin.backends:
            if backend.name in self.backends:
                raise UsageError(f"there is already a backend {backend.name}")
        self.skills |= skills
        self.frameworks |= plugin.frameworks
        self.formats = formats
        self.backends |= {backend.name: backend for backend in plugin.backends}
        self.disabled = off | self.disabled
        if plugin.listener is not None:
            self.listeners.append(plugin.listener)

    def _new_skills(self, added: list[Found]) -> tuple[dict[str, Found], dict[str, str]]:
        """Return the skills to add, and the origins of the skipped skills, both by name.

        Raises:
            UsageError: the name of a skill is already taken, or occurs twice in `added`.
        """
        skills: dict[str, Found] = {}
        off: dict[str, str] = {}
        for found in added:
            name = found.name
            if name in skills or name in off:
                raise UsageError(f"it registers /{name} twice")
            if name in self.skipped:
                off[name] = found.origin
            elif (taken := self.skills.get(name)) is not None:
                raise duplicate(name, taken.origin)
            else:
                skills[name] = found
        return skills, off


def duplicate(name: str, origin: str) -> UsageError:
    """Return the error for a skill whose name is taken by the skill from `origin`."""
    return UsageError(f"the name /{name} is already taken by the skill from {origin}")
