"""`make install` with a stand-in for pip: what it shows, and that failures end it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pseudo_terminal import pseudo_terminal

from harness.settings import CODE_ROOT

EXTRAS = (
    "`make install EXTRAS=all` adds search by meaning, maps, MCP, training and clusters (2.8 GB).\n"
)
PIP = """\
case "$*" in *--quiet*) exit $CODE;; esac
echo 'Collecting rich>=14 (from nanda-harness==0.1.0)'
echo '  Downloading https://packages.invalid/rich-15.0.0-py3-none-any.whl.metadata (18 kB)'
echo '  Downloading https://packages.invalid/rich-15.0.0-py3-none-any.whl (243 kB)'
echo 'Installing collected packages: rich, nanda-harness'
exit $CODE
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(CODE_ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    (tmp_path / "pip.sh").write_text(PIP)
    return tmp_path


def make(folder: Path, code: int, **streams: object) -> subprocess.CompletedProcess[str]:
    # The variables of a make that runs the tests are removed.
    without = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "install", "PIP=sh pip.sh"],
        cwd=folder,
        env={**without, "CODE": str(code)},
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **streams,  # type: ignore[call-overload]
    )


def test_a_terminal_shows_each_package(folder: Path) -> None:
    with pseudo_terminal(80) as terminal:
        done = make(folder, 0, stdout=terminal.stream, stderr=terminal.stream)
    assert done.returncode == 0
    first, *shown = [part.strip() for part in "\r".join(terminal.lines).split("\r") if part.strip()]
    assert first == 'Installing "." with its dependencies into .venv'
    assert shown == [
        "1 packages: rich>=14",
        "downloading rich-15.0.0-py3-none-any.whl (243kB)",
        "installing 2 packages",
        EXTRAS.strip(),
    ]
    assert (folder / ".venv" / "installed").exists()


def test_without_a_terminal_pip_has_one_line(folder: Path) -> None:
    done = make(folder, 0, capture_output=True)
    assert done.stdout == 'Installing "." with its dependencies into .venv\n' + EXTRAS
    assert done.stderr == ""


def test_a_failure_of_pip_ends_it(folder: Path) -> None:
    assert make(folder, 1, capture_output=True).returncode == 2
    with pseudo_terminal(80) as terminal:
        assert make(folder, 1, stdout=terminal.stream, stderr=terminal.stream).returncode == 2
    assert not (folder / ".venv" / "installed").exists()
