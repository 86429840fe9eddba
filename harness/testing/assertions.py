"""Assertions on the behaviour of skills."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.testing.fakes import FakeBackend, FakeModel

if TYPE_CHECKING:
    from harness.cli.app import App


def assert_refuses(app: App, line: str, *words: str, code: int = 2) -> HarnessError:
    """Assert that `line` is refused before any work: without model requests and file changes.

    Args:
        words: parts of the error message, in this order.
        code: the expected exit code.

    Returns: the error.
    """
    requests, files = _requests(app), _files(app)
    error = _error(app, line)
    message, place = str(error), 0
    assert error.exit_code == code, f"exit code {error.exit_code}, not {code}: {message}"
    for word in words:
        found = message.find(word, place)
        assert found >= 0, f"{word!r} is not in {message[place:]!r}"
        place = found + len(word)
    assert _requests(app) == requests, f"{line!r} was refused after a model request: {message}"
    changed = sorted(str(path) for path, _ in _files(app) ^ files)
    assert not changed, f"{line!r} was refused after changing {', '.join(changed)}: {message}"
    return error


def assert_saves(app: App, line: str, path: Path) -> Path:
    """Assert that `line` saves to `path` and leaves no temporary file.

    Returns: the path.
    """
    outcome = app.dispatch(f'{line} save to "{path}"')
    assert outcome.result.code == 0, f"exit code {outcome.result.code}: {outcome.result.stopped}"
    assert path in outcome.saved, f"saved {[str(p) for p in outcome.saved]}, not {path}"
    assert path.is_file(), f"{path} does not exist"
    assert path.stat().st_size, f"{path} is empty"
    left = [found.name for found in path.parent.glob(".*.tmp")]
    assert not left, f"temporary files left: {', '.join(left)}"
    return path


def _error(app: App, line: str) -> HarnessError:
    try:
        app.dispatch(line)
    except HarnessError as error:
        return error
    raise AssertionError(f"{line!r} was not refused")


def _requests(app: App) -> int:
    """Return the number of requests to the fake models of the application."""
    backends = (b for b in app.pool.backends.values() if isinstance(b, FakeBackend))
    models = (b.model for b in backends if isinstance(b.model, FakeModel))
    return sum(len(model.requests) for model in models)


def _files(app: App) -> set[tuple[Path, int]]:
    """Return the files of the project with their times of change, without those of the harness."""
    settings = app.settings
    own = (settings.cache_dir, settings.data_dir, settings.config_dir)
    return {
        (path, path.stat().st_mtime_ns)
        for path in settings.project_dir.rglob("*")
        if path.is_file() and not any(path.is_relative_to(folder) for folder in own)
    }
