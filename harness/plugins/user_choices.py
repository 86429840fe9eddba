"""Files of the user's choices about plugins, such as the disabled names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from harness.support import bounded_files


class ChoicesFile(ABC):
    """A JSON file of the user's choices.

    A damaged file counts as empty, and is renamed to NAME.damaged before a new file is written.

    Attributes:
        content: the noun for the content, for messages.
        fault_of_form: the fault of JSON that does not have the required form, for messages.
        effect: the consequence of a damaged file, and the remedy, for messages.
        earlier: the name that the file had in earlier versions, or "". The file with this name is
            read if there is no file with the present name.
        mode: the permissions with which the file is created, before the umask is applied.
    """

    content: ClassVar[str]
    fault_of_form: ClassVar[str]
    effect: ClassVar[str]
    earlier: ClassVar[str] = ""
    mode: ClassVar[int] = 0o666

    def __init__(self, path: Path) -> None:
        self._path = path

    def damage(self) -> str:
        """Return a message with the fault of a damaged file and its consequence, or ""."""
        damage = self.fault()
        return f"{self._path} {damage}, so {self.effect}" if damage else ""

    def fault(self) -> str:
        """Return the fault of a damaged file, such as "is not JSON"; "" without a fault."""
        return self._load()[1]

    def _load(self) -> tuple[Any, str]:
        """Return the content of the file and its fault.

        The content is None if the file is missing or damaged. The fault is "" unless the file is
        damaged.
        """
        try:
            stored = bounded_files.load_json(self._path)
            if stored is None and self.earlier:
                stored = bounded_files.load_json(self._path.with_name(self.earlier))
        except bounded_files.Damaged as exc:
            return None, str(exc)
        if stored is None or self._is_valid(stored):
            return stored, ""
        return None, self.fault_of_form

    @abstractmethod
    def _is_valid(self, stored: Any) -> bool:
        """Return True if the parsed JSON has the required form."""

    def _store(self, stored: Any) -> None:
        """Replace the content of the file.

        Raises:
            OutputError: the file cannot be written.
        """
        if self.fault():
            bounded_files.set_aside(self._path)
        bounded_files.write_json(self._path, stored, self.content, mode=self.mode)


class DisabledNames(ChoicesFile):
    """The disabled names; plugins and skills with these names are not loaded from any source.

    A name may belong to an entry point, a folder, a SKILL.md or a skill. Therefore a plugin can be
    disabled without being imported. Another plugin cannot take over a disabled name.
    """

    content = "the list of disabled names"
    fault_of_form = "is not a list of names"
    effect = "no name is disabled; correct or delete it"

    def read(self) -> frozenset[str]:
        """Return the disabled names."""
        return frozenset(self._load()[0] or ())

    def add(self, name: str) -> None:
        """Disable a name.

        Raises:
            OutputError: the file cannot be written.
        """
        self._store(sorted(self.read() | {name}))

    def remove(self, name: str) -> None:
        """Enable a disabled name.

        Raises:
            OutputError: the file cannot be written.
        """
        self._store(sorted(self.read() - {name}))

    def _is_valid(self, stored: Any) -> bool:
        return isinstance(stored, list) and all(
            isinstance(name, str) and name.isprintable() for name in stored
        )
