"""The plugin index: texts that are made again after a change of a file, and backends."""

import pytest

from harness.models.registry import ServeEntry
from harness.plugins.catalogue import Contributions
from harness.plugins.index import PluginIndex
from harness.testing import FakeBackend, FakeModel


@pytest.fixture
def folder(tmp_path):
    """A folder with one Python file, whose state is the key of the index."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "options.py").write_text("A = 1\n")
    return tmp_path / "code"


def text(folder, value):
    return PluginIndex(folder.parent / "plugins.json", [folder]).text("help", lambda: value)


def test_a_text_is_made_once(folder):
    assert [text(folder, "first"), text(folder, "second")] == ["first", "first"]


def test_a_text_is_made_again_after_a_change(folder):
    text(folder, "first")
    (folder / "options.py").write_text("A = 10\n")
    assert text(folder, "second") == "second"


def test_a_backend_is_imported_when_it_is_used(folder):
    imported = []

    class Plugin:
        def register_backends(self, register, files):
            assert files == "files"
            imported.append("plugin")
            register(FakeBackend(FakeModel()))

    def index():
        return PluginIndex(folder.parent / "plugins.json", [folder])

    first = index()
    first.put("own", Contributions(backends=[FakeBackend(FakeModel())]), None)
    first.save()
    [backend] = index().get("own", Plugin, "built in", "files").backends
    assert (backend.name, imported) == ("fake", [])
    entry = ServeEntry(backend="fake", model="m")
    assert backend.probe(entry).available
    assert isinstance(backend.load(entry), FakeModel)
    assert imported == ["plugin"]
