"""tools/fit_selector.py: a model and weights fitted on annotated tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from harness.models.encoder import Encoder
from harness.models.weights import FileStore
from skills.annotate.selector import selector
from skills.annotate.selector.candidates import candidates_of
from skills.nanda.framework import nanda
from skills.nanda.quoting.numbered import numbered

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]
NOT = nanda().not_stated
NEW = "Bees sting in meadow 77. We show that plan 77 calms the bees. However, hive 77 was too cold."


def row(number: int) -> dict[str, str]:
    """An annotated abstract: its claim and limitation are its second and third sentence."""
    claim = f"We show that plan {number} calms the bees"
    limitation = f"However, hive {number} was too cold for it"
    abstract = f"Bees sting in meadow {number}. {claim}. {limitation}."
    moves = {**dict.fromkeys(nanda().names, NOT), "claim": claim, "limitation": limitation}
    return {"id": str(number), "abstract": abstract, **moves}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bees") / "bees.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row(0)))
        writer.writeheader()
        writer.writerows(map(row, range(20)))
    return path


def test_what_is_fitted_is_measured_and_applied_by_the_engine(
    table: Path, tmp_path: Path, model_files: FileStore, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools import fit_selector

    line = [str(table), "--held-out", "4", "--epochs", "12", "--out", str(tmp_path)]
    assert fit_selector.main(line) == 0
    lines = [one.split() for one in capsys.readouterr().out.splitlines()]
    assert lines[0][0] == "epoch"
    by_move = {name: values for name, *values in lines[-8:]}
    assert float(by_move["claim"][0]) > 0.9
    assert by_move["method"][0] == "nan"
    fitted, sentences = selector.load(tmp_path), numbered(NEW)
    layers = model_files.first_layers(selector.BASE, selector.LAYERS, tmp_path / selector.ADAPTER)
    encoder = Encoder(layers)
    encoded = encoder.encode([one.text for one in sentences])
    encoder.close()
    layers.unlink()
    likely = fitted.likely(encoded, candidates_of(nanda().names, sentences, 300))
    chosen = {move: int(np.argmax(one.by_sentence())) for move, one in likely.items()}
    assert (chosen["claim"], chosen["limitation"], chosen["method"]) == (2, 3, 0)


def test_the_engine_reads_as_the_model_was_tuned(model_files: FileStore, tmp_path: Path) -> None:
    import torch

    from tools.tuned_reader import TunedReader

    torch.manual_seed(0)
    reader, sentences = TunedReader(), [one.text for one in numbered(NEW)]
    text = reader.text(sentences)
    with torch.no_grad():
        for parameter in reader.tune():
            parameter += 0.06 * torch.randn(parameter.shape)
    [tuned] = reader.read([text])
    reader.write(tmp_path / "adapter.gguf")
    layers = model_files.first_layers(selector.BASE, selector.LAYERS, tmp_path / "adapter.gguf")
    encoder = Encoder(layers)
    encoded = encoder.encode(sentences)
    encoder.close()
    layers.unlink()
    assert encoded.ends.tolist() == text.ends.tolist()
    one, other = encoded.tokens, tuned.tokens.numpy()
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() > 0.99


def test_help_begins_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    from tools import fit_selector

    with pytest.raises(SystemExit):
        fit_selector.main(["--help"])
    assert "Fit the selector on annotated abstracts" in capsys.readouterr().out
