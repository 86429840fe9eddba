"""metrics.jsonl, which must survive a killed process, and the loss curve."""

from __future__ import annotations

from pathlib import Path

import pytest

from skills.finetune.training import train
from skills.finetune.training.callbacks import Metrics

pytestmark = pytest.mark.train


def filled(path: Path) -> Metrics:
    metrics = Metrics(path)
    for step in range(1, 7):
        metrics.add({"step": step, "loss": 3 - step / 10})
        if step % 2 == 0:
            metrics.add({"step": step, "dev_loss": 3 + abs(step - 4) / 10})
    return metrics


def test_the_curve_is_a_picture_with_and_without_dev_loss(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the finetune extra")
    lines = filled(tmp_path / "metrics.jsonl").read()
    sizes = []
    for name, drawn, best in (
        ("best", lines, 4),
        ("unmarked", lines, None),
        ("train", [line for line in lines if "loss" in line], 6),
        ("none", [], None),
    ):
        target = tmp_path / f"{name}.png"
        train.draw_curve(drawn, target, best)
        assert target.read_bytes().startswith(b"\x89PNG")
        sizes.append(target.stat().st_size)
    assert len(set(sizes)) == 4


def test_a_matplotlibrc_changes_nothing(tmp_path: Path) -> None:
    """matplotlib reads one in the current folder at import; it may require TeX to be run."""
    pytest.importorskip("matplotlib", reason="needs the finetune extra")
    from matplotlib import rc_context

    lines, one, two = filled(tmp_path / "metrics.jsonl").read(), tmp_path / "1.png", tmp_path / "2"
    train.draw_curve(lines, one)
    with rc_context({"text.usetex": True, "savefig.facecolor": "red"}):
        train.draw_curve(lines, two)
    assert one.read_bytes() == two.read_bytes()


def test_curve_legend_distinguishes_the_two_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="needs the finetune extra")
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *args, **more: drawn.append(self) or save(self, *args, **more),
    )
    train.draw_curve(filled(tmp_path / "metrics.jsonl").read(), tmp_path / "loss.png")
    [axes] = drawn[0].axes
    assert axes.get_ylabel() == "loss (nats)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "training, as weighted",
        "dev, plain mean",
    ]
