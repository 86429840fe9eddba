"""A folder from a stranger: modules named like everything that the program could import."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repository import ROOT

IMPORT = re.compile(
    rb"""^[ \t]*(?:from|import)[ \t]+([a-z_]\w*)|(?:import_module|find_spec)\(["']([a-z_]\w*)""",
    re.IGNORECASE | re.MULTILINE,
)
SITE = {"sitecustomize", "usercustomize"}
"""What Python itself imports at start, wherever it is found on the path."""
HOOK = "__editable__.nanda_harness-{version}.finder.__path_hook__"
"""The relative entry that an editable install of setuptools adds to the path by default."""


def module_names() -> set[str]:
    """Return the names: of the program, of its dependencies, and of all that these import."""
    return {
        *sys.stdlib_module_names,
        *SITE,
        *metadata.packages_distributions(),
        *(name for name in _of_the_program() if name.isidentifier()),
        *(name.decode() for name in _of_dependencies()),
    }


def seed(folder: Path, names: set[str], witness: Path, *, packages: bool) -> None:
    """Write a module or a package for each name; it notes in `witness` that it was executed."""
    for name in names:
        path = folder / name / "__init__.py" if packages else folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        code = f"with open({str(witness)!r}, 'a') as file:\n    file.write({name!r} + '\\n')\n"
        path.write_text(code, encoding="utf-8")
        if packages and name == "pip":
            path.with_name("__main__.py").write_text(code, encoding="utf-8")
    info = folder / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness.skills]\nstranger = antigravity\n")


def _of_the_program() -> Iterator[str]:
    """Yield the first part of each import, and each text of the code, which may name a module."""
    for root in (ROOT / "agent.py", ROOT / "harness", ROOT / "skills"):
        yield root.stem
        for path in [root] if root.is_file() else sorted(root.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    yield (node.module or "").partition(".")[0]
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def _of_dependencies() -> Iterator[bytes]:
    """Yield the name in all text of the dependencies that looks like an import."""
    left, known = ["nanda-harness"], set[str]()
    while left:
        name = canonicalize_name(left.pop())
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # a dependency of other platforms
            continue
        for line in distribution.requires or ():
            needed = Requirement(line)
            if needed.name not in known and "extra" not in str(needed.marker):
                known.add(needed.name)
                left.append(needed.name)
        for file in distribution.files or ():
            if file.suffix == ".py" and "tests" not in file.parts:
                found = IMPORT.finditer(Path(str(file.locate())).read_bytes())
                yield from (match[match.lastindex or 0] for match in found)
