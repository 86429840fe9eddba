"""What a skill owes its user, as assertions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.testing.fakes import FakeBackend, FakeModel

if TYPE_CHECKING:
    from harness.cli.app import App


def assert_refuses(app: App, line: str, *words: str, code: int = 2) -> HarnessError:
    """Assert that `line` is refused before any work: no model is asked and no file is touched.

    Args:
        words: what the error says, in this order.
        code: the exit code.

    Returns: the error.
    """
    asked, files = _asked(app), _files(app)
    error = _error(app, line)
    said, place = str(error), 0
    assert error.exit_code == code, f"exit code {error.exit_code}, not {code}: {said}"
    for word in words:
        found = said.find(word, place)
        assert found >= 0, f"{word!r} is not in {said[place:]!r}"
        place = found + len(word)
    assert _asked(app) == asked, f"{line!r} asked a model before it was refused: {said}"
    touched = sorted(str(path) for path, _ in _files(app) ^ files)
    assert not touched, f"{line!r} touched {', '.join(touched)} before it was refused: {said}"
    return error


def assert_saves(app: App, line: str, path: Path) -> Path:
    """Assert that `line`, with `path` as its target, writes that file and leaves nothing beside it
    that is not a file of the skill's own.

    Returns: the path, for a look into it.
    """
    outcome = app.dispatch(f'{line} save to "{path}"')
    assert outcome.result.code == 0, f"exit code {outcome.result.code}: {outcome.result.stopped}"
    assert path in outcome.saved, f"saved {[str(p) for p in outcome.saved]}, not {path}"
    assert path.is_file(), f"{path} is not there"
    assert path.stat().st_size, f"{path} is empty"
    left = [found.name for found in path.parent.glob(".*.tmp")]
    assert not left, f"left behind: {', '.join(left)}"
    return path


def _error(app: App, line: str) -> HarnessError:
    try:
        app.dispatch(line)
    except HarnessError as error:
        return error
    raise AssertionError(f"{line!r} was not refused")


def _asked(app: App) -> int:
    """How often the fake models of the application were asked."""
    backends = (b for b in app.pool.backends.values() if isinstance(b, FakeBackend))
    models = (b.model for b in backends if isinstance(b.model, FakeModel))
    return sum(len(model.requests) for model in models)


def _files(app: App) -> set[tuple[Path, int]]:
    """The files of the project with their times of change, without those the harness keeps."""
    settings = app.settings
    own = (settings.cache_dir, settings.data_dir, settings.config_dir)
    return {
        (path, path.stat().st_mtime_ns)
        for path in settings.project_dir.rglob("*")
        if path.is_file() and not any(path.is_relative_to(folder) for folder in own)
    }
