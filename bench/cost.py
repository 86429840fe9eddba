"""Print the cost of a million papers for docs/scale.md, computed from papers per minute.

    python bench/cost.py [--core-hour PRICE] [--gpu-hour PRICE]

`MEASURED` and `ESTIMATED` contain the papers per minute; the prices are assumptions. After a new
measurement, change the number in this file, and copy the printed table to docs/scale.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

PAPERS = 1_000_000
CORE_HOUR, GPU_HOUR = 0.04, 2.50
"""Assumed prices in dollars per hour: a CPU core with memory, and an H100 with its machine."""


@dataclass(frozen=True, slots=True)
class Way:
    """A row of the table: a way to annotate papers.

    Attributes:
        rate: papers per minute of one unit.
        unit: the unit that is paid by the hour, "core" or "H100".
    """

    name: str
    rate: float
    unit: str = "core"


MEASURED = (
    Way("the reader, by wall time", 1_907 / 2),  # two cores, docs/measurements/reader.md
    Way("the adapter, by wall time", 31.8 / 2),  # two cores, docs/measurements/reader.md
    Way("the adapter, by CPU time on a busy machine", 12.86),  # bench/annotate.py --on ray
)
TOKENS = 780 + 190
"""Tokens per paper in the JSON form: mean length of prompt plus annotation over 64 papers."""
ESTIMATED = (
    # 11,527 tokens per second, prompts and answers together: docs.gpustack.ai,
    # performance-lab/qwen3.5-9b/h100, ShareGPT profile, vLLM without optimization.
    Way("a 7B by vLLM (estimate)", 11_527 / TOKENS * 60, "H100"),
)


def table(core_hour: float, gpu_hour: float) -> str:
    """Return the table of costs in Markdown."""
    lines = [
        "| way | papers a minute | hours for a million | with 100 units | cost of a million |",
        "|---|---|---|---|---|",
    ]
    for way in (*MEASURED, *ESTIMATED):
        hours = PAPERS / way.rate / 60
        price = core_hour if way.unit == "core" else gpu_hour
        lines.append(
            f"| {way.name} | {way.rate:,.1f} per {way.unit} | {hours:,.0f} {way.unit} hours "
            f"| {hours / 100:,.1f} h | ${hours * price:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="print the cost of a million papers")
    parser.add_argument("--core-hour", type=float, default=CORE_HOUR)
    parser.add_argument("--gpu-hour", type=float, default=GPU_HOUR)
    options = parser.parse_args()
    print(table(options.core_hour, options.gpu_hour))


if __name__ == "__main__":
    main()
