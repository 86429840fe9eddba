"""Draw the loss curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.runs import targets

NAME = "loss.png"


def draw(lines: Sequence[Mapping[str, Any]], target: Path, best: int | None = None) -> None:
    """Draw the training loss and the dev loss over the steps.

    Args:
        lines: the lines of metrics.jsonl.
        best: the step whose adapter is kept; it is marked if `lines` contain its dev loss.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib import rc_context, rcParamsDefault

    # Not the settings of a matplotlibrc in the current folder, which could run TeX.
    with rc_context(rcParamsDefault):
        figure = _figure(lines, best)
        targets.write(target, lambda file: figure.savefig(file, format="png", dpi=120))


def _figure(lines: Sequence[Mapping[str, Any]], best: int | None) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    train, dev = _points(lines, "loss"), _points(lines, "dev_loss")
    axes.plot(
        list(train),
        list(train.values()),
        color="#4477aa",
        marker=".",
        label="training, as weighted",
    )
    if dev:
        axes.plot(
            list(dev), list(dev.values()), color="#cc6677", marker="o", label="dev, plain mean"
        )
    if best in dev:
        axes.plot(
            [best],
            [dev[best]],
            color="#cc6677",
            marker="*",
            markersize=16,
            linestyle="",
            label=f"kept: step {best}, {dev[best]:.3f}",
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats)")
    axes.grid(alpha=0.3)
    if train or dev:
        axes.legend()
    return figure


def _points(lines: Sequence[Mapping[str, Any]], name: str) -> dict[int, float]:
    return {line["step"]: line[name] for line in lines if line.get(name) is not None}
