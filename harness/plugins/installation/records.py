"""The record of installed skills: where each comes from, and the hash of its content."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.support import json_state


class Installed(BaseModel):
    """One skill as it was installed.

    Attributes:
        source: the path or the address, of a repository with the commit.
        sha256: the hash of its files.
        date: the day, YYYY-MM-DD.
    """

    model_config = ConfigDict(frozen=True)
    source: str
    sha256: str
    date: str


class InstalledSkills:
    """A JSON file with the installed skills by name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Installed]:
        """Return the installed skills by name; a damaged file has none."""
        return self._read()[0]

    def needs_trust(self, name: str) -> bool:
        """Return whether the code of a skill of the user's folder needs trust: not if it is theirs.

        With a damaged file, it is unknown whose a skill is.
        """
        known, damage = self._read()
        return bool(damage) or name in known

    def damage(self) -> str:
        """Return what is wrong with the file and what follows, in one line, or ""."""
        damage = self._read()[1]
        effect = "so the plugins of your own folder need trust; correct or delete it"
        return f"{self._path} {damage}, {effect}" if damage else ""

    def add(self, name: str, installed: Installed) -> None:
        """Record a skill.

        Raises:
            OutputError: the file cannot be written.
        """
        self._write(self.read() | {name: installed})

    def remove(self, name: str) -> None:
        """Forget a skill; raises as `add` does."""
        known = self.read()
        if known.pop(name, None) is not None:
            self._write(known)

    def _read(self) -> tuple[dict[str, Installed], str]:
        """Return the content, and what is wrong with it."""
        try:
            return TypeAdapter(dict[str, Installed]).validate_python(
                json_state.load(self._path) or {}
            ), ""
        except json_state.Damaged as exc:
            return {}, str(exc)
        except ValidationError:
            return {}, "is not a mapping of names to installed skills"

    def _write(self, known: dict[str, Installed]) -> None:
        if self._read()[1]:
            json_state.set_aside(self._path)
        stored = {name: one.model_dump() for name, one in sorted(known.items())}
        json_state.write(self._path, stored, "the record of installed skills")
