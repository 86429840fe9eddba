"""Importing a skill's folder: always from its source, under a name that no other folder has.

Python's own import would run a `__pycache__` that lies in the folder without looking at the source
beside it, and so run other code than the user has read and trusted.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from types import CodeType, ModuleType

PREFIX = "harness_folder_"
OURS = frozenset({"harness", "skills"})
"""The packages of the program itself, which stay as they are while it runs."""


class _SourceOnly(importlib.machinery.SourceFileLoader):
    """Neither reads compiled files nor leaves any."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class _FolderFinder(importlib.abc.MetaPathFinder):
    """Finds the modules beside a folder's plugin.py, for its relative imports."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(PREFIX) or path is None:
            return None
        extensions = importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES
        source = _SourceOnly, importlib.machinery.SOURCE_SUFFIXES
        for folder in path:
            finder = importlib.machinery.FileFinder(folder, extensions, source)
            if (spec := finder.find_spec(fullname)) is not None:
                return spec
        return None


def import_folder(folder: Path) -> ModuleType:
    """Import a folder's plugin.py as a package of its own, anew each time."""
    if not any(isinstance(finder, _FolderFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FolderFinder())
    tag = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    package = f"{PREFIX}{re.sub(r'[^a-z0-9]', '_', folder.name)}_{tag}"
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        del sys.modules[name]
    path = folder / "plugin.py"
    return import_file(package, path, folder, _SourceOnly(package, str(path)))


def forget(folders: Iterable[Path], packages: Collection[str]) -> dict[str, ModuleType]:
    """Have what lies below these folders, and these packages, imported anew when next asked for.

    A plugin may have imported what lies beside it, or is installed, under any name.

    Returns:
        The modules that are forgotten, by name.
    """
    importlib.invalidate_caches()  # else a package that has just been installed is not seen
    forgotten = {}
    below = tuple(f"{path}{os.sep}" for f in folders for path in {f.absolute(), f.resolve()})
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        file = getattr(module, "__file__", None) or ""
        if top not in OURS and (top in packages or file.startswith(below)):
            forgotten[name] = sys.modules.pop(name)
    return forgotten


def import_file(
    name: str, path: Path, folder: Path, loader: importlib.abc.Loader | None = None
) -> ModuleType:
    """Import `path` as the package `name`, whose modules lie in `folder`."""
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
