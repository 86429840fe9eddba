"""Check the shape of harness/ and skills/: folders, names and sizes of modules.

    python tools/structure.py

Prints each violation of the rules in the section Structure of CONTRIBUTING.md, and exits with 1 if
it finds a violation. The layers of imports are checked by import-linter, not here.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.count_code import code_lines  # noqa: E402

MODULES, MEDIAN, LINES = 378, 110, 53_599
"""Maximum number of modules, minimum median of their code lines, and maximum total code lines."""
DEPTH = 3
"""Maximum number of folders above a module, as in skills/corpus/tables/columns.py."""
FULL = 3
"""Minimum number of modules in a folder, without __init__.py."""
LONGEST = 500
"""Maximum number of lines of a module, docstrings and blank lines included."""
SMALL = 60
"""Minimum code lines of a module with one public name and one importer."""


def modules() -> dict[Path, ast.Module]:
    """Return the syntax trees of all modules by their path from the root."""
    found = sorted(path for top in ("harness", "skills") for path in (ROOT / top).rglob("*.py"))
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in found}


def importers(trees: dict[Path, ast.Module]) -> dict[str, set[Path]]:
    """Return, for each imported dotted name, the paths of the modules that import it."""
    found: dict[str, set[Path]] = defaultdict(set)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.name].add(path)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found[node.module].add(path)
                for alias in node.names:
                    found[f"{node.module}.{alias.name}"].add(path)
    return found


def of_totals(sizes: dict[Path, int]) -> Iterator[str]:
    """Yield the violations of `MODULES`, `MEDIAN` and `LINES`."""
    median = statistics.median(size for size in sizes.values() if size)
    if len(sizes) > MODULES:
        yield f"{len(sizes)} modules, at most {MODULES}"
    if median < MEDIAN:
        yield f"the median module has {median:g} code lines, at least {MEDIAN}"
    if sum(sizes.values()) > LINES:
        yield f"{sum(sizes.values()):,} code lines, at most {LINES:,}"


def of_modules(trees: dict[Path, ast.Module], sizes: dict[Path, int]) -> Iterator[str]:
    """Yield a line for each module that is too deep, too long, or small with one importer."""
    used = importers(trees)
    for path, tree in trees.items():
        if len(path.parents) - 1 > DEPTH:
            yield f"{path}: deeper than {DEPTH} folders"
        lines = (ROOT / path).read_text(encoding="utf-8").count("\n")
        if lines > LONGEST:
            yield f"{path}: {lines} lines, at most {LONGEST}"
        public = [
            node.name
            for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
        ]
        by = used[".".join(path.with_suffix("").parts)]
        if sizes[path] < SMALL and len(public) == len(by) == 1:
            yield f"{path}: {sizes[path]} lines for one name, which only {min(by)} imports"


def of_folders(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a line for each folder with too few modules, and for each repeated module name."""
    folders: dict[Path, int] = defaultdict(int)
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in paths:
        if path.name != "__init__.py":
            folders[path.parent] += 1
            area = "harness" if path.parts[0] == "harness" else "/".join(path.parts[:2])
            names[area, path.name].append(str(path))
    for folder, count in folders.items():
        if count < FULL:
            yield f"{folder}/: {count} modules, at least {FULL}"
    for (_, name), found in names.items():
        if len(found) > 1:
            yield f"{name} occurs {len(found)} times: {', '.join(found)}"


def main() -> int:
    trees = modules()
    sizes = {path: code_lines((ROOT / path).read_text(encoding="utf-8")) for path in trees}
    found = [*of_totals(sizes), *of_modules(trees, sizes), *of_folders(trees)]
    print("\n".join(found) or "The structure is as CONTRIBUTING.md describes it.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
