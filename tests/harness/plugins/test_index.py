"""Texts of the plugin index: made once, and again after a change of a file."""

import pytest

from harness.plugins.index import PluginIndex


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
