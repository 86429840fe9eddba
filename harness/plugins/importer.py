"""Import plugins: folders with a plugin.py, and the packages of the program.

A folder is always imported from source, under a unique module name. The import system of Python
would run a `__pycache__` in the folder without comparing it to the source, and so run code that the
user has not read.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader


PREFIX = "harness_folder_"
OWN_PACKAGES = frozenset({"harness", "skills"})


class _SourceOnlyLoader(importlib.machinery.SourceFileLoader):
    """A loader that neither reads nor writes compiled files."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class _FolderFinder:
    """A finder for the relative imports of a plugin.py, which loads modules from source only."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(PREFIX) or path is None:
            return None
        extensions = importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES
        source = _SourceOnlyLoader, importlib.machinery.SOURCE_SUFFIXES
        for folder in path:
            finder = importlib.machinery.FileFinder(folder, extensions, source)
            if (spec := finder.find_spec(fullname)) is not None:
                return spec
        return None


def import_folder(folder: Path) -> ModuleType:
    """Import the plugin.py of a folder as a package; each call imports it again."""
    if not any(isinstance(finder, _FolderFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FolderFinder())
    tag = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]
    package = f"{PREFIX}{re.sub(r'[^a-z0-9]', '_', folder.name)}_{tag}"
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        del sys.modules[name]
    path = folder / "plugin.py"
    return import_file(package, path, folder, _SourceOnlyLoader(package, str(path)))


def import_file(name: str, path: Path, folder: Path, loader: Loader | None = None) -> ModuleType:
    """Import `path` as the package `name`, whose modules are in `folder`."""
    spec = importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def forget(folders: Iterable[Path], packages: Collection[str]) -> None:
    """Remove the modules below these folders, and these packages, from `sys.modules`."""
    importlib.invalidate_caches()  # otherwise, a newly installed package would not be found
    below = tuple(f"{path}{os.sep}" for f in folders for path in {f.absolute(), f.resolve()})
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        file = getattr(module, "__file__", None) or ""
        if top not in OWN_PACKAGES and (top in packages or file.startswith(below)):
            del sys.modules[name]


def import_shipped(root: Path, name: str) -> ModuleType:
    """Import a shipped plugin, even if `sys.path` contains another package named `skills`."""
    if "skills" not in sys.modules:
        import_file("skills", root / "__init__.py", root)
    return importlib.import_module(f"skills.{name}.plugin")


def is_package(folder: Path) -> bool:
    """Return True for a package: shipped plugins are packages, and folders of users are not."""
    return (folder / "__init__.py").is_file()
