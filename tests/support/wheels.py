"""A folder of wheels as pip's only index."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

NAME = "tiny_model-1.0"


def write_wheel(folder: Path, weights: bytes, member: str = "tiny_model/weights.gguf") -> Path:
    """Write the wheel tiny-model==1.0 with one file of weights, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(member, weights)
        wheel.writestr(
            f"{NAME}.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        )
        wheel.writestr(
            f"{NAME}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{NAME}.dist-info/RECORD", "")
    return path


def use_as_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pip find only the wheels in `folder`."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
