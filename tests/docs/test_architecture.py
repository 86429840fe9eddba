"""docs/architecture.md names files and functions that exist."""

from __future__ import annotations

import ast
import re

import pytest
from repository import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"((?:harness|skills)/[\w/]+\.py|agent\.py):([A-Z_a-z.]+\w)", PAGE)))
CHANGES = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE.split("## Where a change goes")[1], re.M)[
    2:
]
PATHS = sorted(set(re.findall(r"(?:harness|skills)/[\w/]*[\w/](?:\.py)?", PAGE)))


def definitions(file: str) -> set[str]:
    """Return the functions, classes and methods (Class.method) of a file."""
    found = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{f.name}"
                for f in node.body
                if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found


def test_the_page_names_functions() -> None:
    assert len(NAMES) > 20


def test_a_change_leads_to_one_file() -> None:
    assert len(CHANGES) >= 12
    for change, place in CHANGES[:-1]:  # the last row is about messages
        files = re.findall(r"(?:harness|skills)/[\w/]+\.py", place)
        assert len(files) == 1, f"{change}: {place}"
        assert (ROOT / files[0]).is_file(), files[0]


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_a_named_function_exists(file: str, name: str) -> None:
    assert name in definitions(file)


@pytest.mark.parametrize("path", PATHS)
def test_a_named_path_exists(path: str) -> None:
    assert (ROOT / path).exists()
