"""What plugins have brought, and what was left out: where all else looks them up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.agent_skills.skill_md import SkillFile
from harness.api.events import Listener
from harness.api.formats import Format
from harness.api.skill import Skill
from harness.errors import UsageError
from harness.models.backends.base import Backend


@dataclass(frozen=True, slots=True)
class Found:
    """A skill and where it comes from.

    Attributes:
        file: its SKILL.md, where it has one.
        problems: what does not follow the specification of those.
    """

    skill: Skill
    origin: str
    problems: tuple[str, ...] = ()
    file: SkillFile | None = None


@dataclass(frozen=True, slots=True)
class FoundFramework:
    """A framework's file and where it comes from."""

    path: Path
    origin: str


@dataclass(frozen=True, slots=True)
class FoundFormat:
    """A format and where it comes from."""

    format: Format
    origin: str


@dataclass(slots=True)
class Brought:
    """What one plugin brings."""

    skills: list[Found] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)
    frameworks: list[tuple[str, FoundFramework]] = field(default_factory=list)
    formats: list[FoundFormat] = field(default_factory=list)
    listener: Listener | None = None


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that was left out, with the reason in one line and in full."""

    name: str
    origin: str
    reason: str
    traceback: str = ""


@dataclass(slots=True)
class Catalogue:
    """All that was found.

    Attributes:
        formats: by suffix.
        untrusted: a project's plugins that nobody has trusted, by name, not yet loaded.
        disabled: what the user has disabled, by name, with its origin, or "" for nothing there.
        framework: the names of the harness's own commands.
        remarks: what is said of plugins that were loaded, a line each: what they did to the process
            meanwhile, and what they should change before it breaks them.
    """

    skills: dict[str, Found] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    frameworks: dict[str, FoundFramework] = field(default_factory=dict)
    formats: dict[str, FoundFormat] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    failures: list[PluginFailure] = field(default_factory=list)
    untrusted: dict[str, SkillFile] = field(default_factory=dict)
    disabled: dict[str, str] = field(default_factory=dict)
    framework: frozenset[str] = frozenset()
    remarks: list[str] = field(default_factory=list)

    def formats_for(self, skill: Skill) -> dict[str, FoundFormat]:
        """The formats that this skill's records can be saved in, but for its own suffixes."""
        return {
            suffix: found
            for suffix, found in self.formats.items()
            if skill.formats
            and suffix not in skill.saves
            and (not found.format.skills or skill.name in found.format.skills)
        }

    def keep(self, brought: Brought, disabled: frozenset[str]) -> None:
        """Put all of a plugin into the catalogue, or nothing of it.

        Args:
            disabled: names of skills that are passed over, which is noted.

        Raises:
            UsageError: something of that name is there already.
        """
        skills, off = self._with(brought.skills, disabled)
        frameworks, formats = dict(self.frameworks), dict(self.formats)
        for name, framework in brought.frameworks:
            if (known := frameworks.get(name)) is not None:
                raise UsageError(f"there is a framework {name} already, from {known.origin}")
            frameworks[name] = framework
        for brought_format in brought.formats:
            suffix = brought_format.format.suffix
            if (other := formats.get(suffix)) is not None:
                raise UsageError(f"there is a format {suffix} already, from {other.origin}")
            formats[suffix] = brought_format
        for backend in brought.backends:
            if backend.name in self.backends:
                raise UsageError(f"there is a backend {backend.name} already")
        self.skills, self.frameworks, self.formats = skills, frameworks, formats
        self.backends.update({b.name: b for b in brought.backends})
        self.disabled = off | self.disabled
        if brought.listener is not None:
            self.listeners.append(brought.listener)

    def _with(
        self, brought: list[Found], disabled: frozenset[str]
    ) -> tuple[dict[str, Found], dict[str, str]]:
        """The skills with those of a plugin among them, and what of it is disabled."""
        skills = dict(self.skills)
        off: dict[str, str] = {}
        mine: set[str] = set()
        for found in brought:
            name = found.skill.name
            if name in mine:
                raise UsageError(f"it brings /{name} twice")
            mine.add(name)
            if name in disabled:
                off[name] = found.origin
            elif (taken := skills.get(name)) is not None:
                raise duplicate(name, taken.origin)
            else:
                skills[name] = found
        return skills, off


def duplicate(name: str, origin: str) -> UsageError:
    return UsageError(f"the name /{name} is taken by the one from {origin}")
