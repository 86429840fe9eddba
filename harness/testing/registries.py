"""Model registries for tests."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.models import registry

FAKE_REGISTRY = """\
version: 1
models:
  nanda-annotator:
    tasks: [annotate]
    serve: [{backend: fake, model: annotator}]
    fallback: producer
  producer:
    tasks: [chat, judge]
    serve: [{backend: fake, model: producer}]
"""


@contextlib.contextmanager
def temporary_registry(models: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Create a temporary registry file for `--registry FILE` or `fake_app(registry=FILE)`.

    Args:
        models: entries by id; default: those of `FAKE_REGISTRY`.

    Raises:
        RegistryError: an entry is invalid.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.yaml"
        text = FAKE_REGISTRY if models is None else yaml.safe_dump({"models": dict(models)})
        path.write_text(text, encoding="utf-8")
        registry.load(path)
        yield path
