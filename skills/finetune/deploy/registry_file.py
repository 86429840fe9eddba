"""A registry that a person keeps, changed entry by entry; all else stays byte for byte.

What comes of an edit is read again first: it must be the data from before but for that one entry,
and a registry that the harness can use.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import yaml

from harness.errors import OutputError, RegistryError
from harness.models import registry
from harness.runs import targets
from skills.finetune.deploy import registry_text

Section = Literal["models", "files"]

HEADER = """\
# Your own models. This file is laid over the registry that ships, entry by entry, and its models
# are asked first. `/models` shows what there is.
version: 1
"""


@dataclass(frozen=True, slots=True)
class RegistryFile:
    """A registry as text, and what is to become of it; nothing is written before `save`.

    Attributes:
        original: what stood in the file when it was read; None where there was none.
    """

    path: Path
    text: str
    original: bytes | None

    @classmethod
    def read(cls, path: Path, shipped: Path) -> RegistryFile:
        """Read a registry; one that is not there begins as a header.

        Raises:
            RegistryError: it is broken, which an edit would only hide.
        """
        registry.load(shipped, path)
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            return cls(path, HEADER, None)
        except OSError as exc:
            raise RegistryError(f"cannot be read ({exc.strerror})", where=str(path)) from exc
        return cls(path, found.decode(), found)

    def entries(self, section: Section) -> Mapping[str, Any]:
        """What stands in a section, as plain data."""
        found: Mapping[str, Any] = _plain(self.text).get(section, {})
        return found

    def put(self, section: Section, name: str, entry: Mapping[str, Any]) -> RegistryFile:
        """With `entry`: where one of that name stands, else before all others of the section.

        Raises:
            RegistryError: the way the file is written does not allow it.
        """
        if self.entries(section).get(name) == entry:
            return self
        return self._edited(
            section, name, entry, lambda: registry_text.put(self.text, section, name, entry)
        )

    def drop(self, section: Section, name: str) -> RegistryFile:
        """Without the entry `name`, and without the section if that was made for it.

        Raises:
            RegistryError: as for `put`.
        """
        if name not in self.entries(section):
            return self
        return self._edited(
            section, name, None, lambda: registry_text.drop(self.text, section, name)
        )

    def _edited(
        self, section: Section, name: str, entry: Mapping[str, Any] | None, edit: Callable[[], str]
    ) -> RegistryFile:
        from ruamel.yaml.error import YAMLError

        expected = _plain(self.text)
        expected[section] = {**expected.get(section, {}), name: entry}
        if entry is None:
            del expected[section][name]
        try:
            text = edit()
            found = _plain(text)
        except (registry_text.NotEditable, YAMLError, yaml.YAMLError):
            found = None
        if found is None or _without_empty(found) != _without_empty(expected):
            raise RegistryError(
                f"{section} is written in a way that does not allow to change {name} alone",
                where=str(self.path),
                hint=f"Write {section} in lines of its own, without anchors and aliases, and end "
                "the last line of the file.",
            )
        return replace(self, text=text)

    def save(self, shipped: Path) -> bool:
        """Put the file in place, if anything has changed and the harness can use it.

        Returns: whether it was written.

        Raises:
            RegistryError: it would be broken; the file is as it was.
            OutputError: it cannot be written, or somebody else has changed it meanwhile.
        """
        content = self.text.encode()
        if content == self.original:
            return False
        with tempfile.TemporaryDirectory() as folder:
            trial = Path(folder) / self.path.name
            trial.write_bytes(content)
            try:
                registry.load(shipped, trial)
            except RegistryError as exc:
                raise RegistryError(
                    f"would be broken by that: {exc.message}", where=str(self.path)
                ) from exc
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            now = self.path.read_bytes() if self.path.exists() else None
        except OSError as exc:
            raise OutputError(f"not written: {exc.strerror or exc}", where=str(self.path)) from exc
        if now != self.original:
            raise OutputError(
                "was changed by somebody else meanwhile",
                where=str(self.path),
                hint="Nothing is written. Run the same line again.",
            )

        def write(file: IO[bytes]) -> None:
            file.write(content)

        targets.write(self.path, write)
        return True


def _plain(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text) or {}
    return found


def _without_empty(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value != {}}
