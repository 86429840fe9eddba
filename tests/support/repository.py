"""Places in the checkout, and the entry of the embedded model."""

from __future__ import annotations

from pathlib import Path

from harness.models.registry import ServeEntry

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "tests" / "support"
TEST_DATA = ROOT / "tests" / "data"
SHARED = ROOT.parent / "shared" / "data"
"""Real data beside the checkout, which may be absent."""
EMBEDDED = ServeEntry(backend="llamacpp", gguf="smollm2-135m-instruct", context=2048)
