"""The plugins that come with the program: the packages beside the code that have a plugin.py."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harness.plugins.importer import import_file

if TYPE_CHECKING:
    from harness.models.backends.base import Availability, Backend, Model
    from harness.models.schema import ServeEntry
    from harness.models.weights import FileStore

PLUGIN = "plugin.py"


def shipped_folders(root: Path) -> list[Path]:
    """Return the folders of the plugins, sorted."""
    return sorted(file.parent for file in root.glob(f"*/{PLUGIN}") if is_package(file.parent))


def import_shipped(root: Path, name: str) -> ModuleType:
    """Import a plugin from beside the code, even if another `skills` is first on sys.path."""
    if "skills" not in sys.modules:
        import_file("skills", root / "__init__.py", root)
    return importlib.import_module(f"skills.{name}.plugin")


def is_package(folder: Path) -> bool:
    """Return True for a package, which distinguishes a shipped plugin from a folder of the user."""
    return (folder / "__init__.py").is_file()


class IndexedBackend:
    """A backend of a plugin that is imported on first use.

    Args:
        load: imports the plugin.
    """

    def __init__(self, name: str, load: Callable[[], Any], files: FileStore) -> None:
        self.name = name
        self._load = load
        self._files = files

    @cached_property
    def _imported(self) -> Backend:
        found: list[Backend] = []
        self._load().register_backends(found.append, self._files)
        return next(backend for backend in found if backend.name == self.name)

    def probe(self, entry: ServeEntry) -> Availability:
        return self._imported.probe(entry)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        return self._imported.load(entry, slots)
