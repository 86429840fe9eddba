from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import ModelUnavailable
from harness.settings import CODE_ROOT
from skills.nanda.framework import nanda
from skills.reader import encoder

SHIPPED = CODE_ROOT / "models" / "nanda-annotator" / "reader.onnx"


def test_the_shipped_reader_scores_sentences_and_tokens() -> None:
    loaded = encoder.load(SHIPPED)
    assert loaded.moves == tuple(nanda().names)
    assert loaded.framework["digest"] == nanda().digest
    scores = loaded.read(["We present DryRun.", "It fails in fog."], "Dry runs")
    assert scores.sentence.shape == scores.part.shape == (2, 8)
    assert scores.token.shape == (len(scores.text.ids), 16)
    again = loaded.read(["We present DryRun.", "It fails in fog."], "Dry runs")
    assert np.array_equal(scores.sentence, again.sentence)
    other = loaded.read(["We present DryRun.", "It fails in fog."])
    assert not np.array_equal(scores.sentence, other.sentence), "the title is read"


@pytest.mark.parametrize("content", [b"", b"GGUF", b"{}"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reader.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match="is not the file of a reader"):
        encoder.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="cannot be read: No such file"):
        encoder.load(tmp_path / "reader.onnx")
