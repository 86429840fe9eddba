"""bench/cost.py: the table of docs/scale.md."""

from __future__ import annotations

from repository import ROOT

from bench import cost


def test_the_table_of_the_guide_is_computed() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert cost.table(cost.CORE_HOUR, cost.GPU_HOUR) in page


def test_costs_are_hours_times_prices() -> None:
    *_, gpu = cost.table(0.1, 6.0).splitlines()
    rate = 11_527 / 970 * 60
    assert gpu.endswith(f"| ${1_000_000 / rate / 60 * 6:,.0f} |")
