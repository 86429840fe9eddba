"""The paths that a command of a model may read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import places
from harness.testing import fake_settings


@pytest.mark.parametrize("text", ["small large", "large small"])
def test_a_folder_with_many_links_hides_no_link_of_another_folder(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MOST_LINKS", 20)
    monkeypatch.chdir(tmp_path)
    for name, count in (("small", 1), ("large", 50)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / str(number)).touch()
    (tmp_path / "small" / "link").symlink_to("/etc")
    settings = replace(fake_settings(tmp_path), project_dir=tmp_path)
    assert Path("/etc") in places.places_to_read([text], settings)
