"""Count code lines by package, without docstrings, comments and blank lines.

    python tools/count_code.py [--files] [FOLDER ...]
    python tools/count_code.py --loaded LINE [--files]

A Python line counts if it contains a token of code outside a docstring. Files of the pages
(JavaScript, CSS, HTML) are counted in a separate table, including comments and blank lines. The
default folders are agent.py, harness/ and skills/.

--loaded runs a line of the harness in a new process. It counts the project's modules that this
process imports, and their lines, including docstrings, comments and blank lines.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("agent.py", "harness", "skills")
PAGE_SUFFIXES = (".css", ".html", ".j2", ".js")
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}

RUN_AND_REPORT = """
import atexit, runpy, sys
script, report, line = sys.argv[1:]
sys.argv = [script, line]
def write():
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    with open(report, "w") as file:
        print(*filter(None, files), sep="\\n", file=file)
atexit.register(write)
runpy.run_path(script, run_name="__main__")
"""


def code_lines(source: str) -> int:
    """Return the number of lines of Python code without docstrings, comments and blank lines."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - _docstring_lines(ast.parse(source)))


def _docstring_lines(tree: ast.AST) -> set[int]:
    """Return the line numbers of docstrings, and of other statements that are only a string."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def package(path: Path) -> str:
    """Return the label of a file's row in the table: the package, such as `harness/cli`."""
    parent = path.relative_to(ROOT).parent.parts
    return "/".join(parent[:2]) or path.name


def loaded(line: str) -> list[Path]:
    """Run a line of the harness in a new process; return the project's files that it imports."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as report:
        arguments = [str(ROOT / "agent.py"), report.name, line]
        subprocess.run([sys.executable, "-c", RUN_AND_REPORT, *arguments], check=False)
        files = {ROOT / "agent.py", *map(Path, report.read().splitlines())}
    places = {file: file.relative_to(ROOT).parts[0] for file in files if ROOT in file.parents}
    return sorted(file for file, place in places.items() if place in SHIPPED)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--loaded", metavar="LINE", help="count the modules that a line imports")
    parser.add_argument("--files", action="store_true", help="print one row per file")
    parser.add_argument("folders", nargs="*", default=SHIPPED, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.loaded is not None:
        sizes = {
            file: len(file.read_text(encoding="utf-8").splitlines())
            for file in loaded(arguments.loaded)
        }
        for file, lines in sizes.items() if arguments.files else ():
            print(f"{lines:>8,}  {file.relative_to(ROOT)}")
        print(f"{len(sizes):,} modules, {sum(sizes.values()):,} lines")
        return

    code: Counter[str] = Counter()
    pages: Counter[str] = Counter()
    for folder in arguments.folders:
        top = (ROOT / folder).resolve()
        for path in sorted(top.rglob("*") if top.is_dir() else [top]):
            row = str(path.relative_to(ROOT)) if arguments.files else package(path)
            if path.suffix == ".py":
                code[row] += code_lines(path.read_text(encoding="utf-8"))
            elif path.suffix in PAGE_SUFFIXES:
                pages[row] += len(path.read_text(encoding="utf-8").splitlines())

    for title, counts in (("Python, code lines", code), ("Pages, physical lines", pages)):
        print(title)
        for row, count in sorted(counts.items()):
            print(f"  {row:<44}{count:>8,}")
        print(f"  {'total':<44}{counts.total():>8,}\n")


if __name__ == "__main__":
    main()
