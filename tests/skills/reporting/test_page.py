"""What the pages share: charts, escaping, and shares with their intervals."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from page_elements import assert_self_contained

from skills.reporting.page import environment, write_page


def chart(name: str, *args: Any, **given: Any) -> str:
    module = environment().get_template("charts.html").module
    return str(getattr(module, name)(*args, **given))


def drawn(svg: str, kind: str, *names: str) -> list[tuple[float, ...]]:
    """Return the coordinates of the shapes of a class."""
    shapes = re.findall(rf'class="{kind}[ "][^>]*', svg)
    return [tuple(float(re.findall(rf' {n}="([\d.]+)"', s)[0]) for n in names) for s in shapes]


def test_a_bar_has_parts_in_proportion() -> None:
    svg = chart("bar", [("kept", 3), ("gated", 0), ("voted", 1, "more")], 'Out "come"')
    assert drawn(svg, "part", "x", "width") == [(0, 750), (750, 250)]
    assert 'aria-label="Out &#34;come&#34;"' in svg


def test_a_track_reaches_from_low_to_high() -> None:
    svg = chart("track", 0.25, 0.0, 0.5, mark=0.5)
    assert drawn(svg, "span", "x1", "x2") == [(6, 60)]
    assert drawn(svg, "dot", "cx") == [(33,)]
    assert drawn(svg, "mark", "x1") == [(60,)]
    assert drawn(chart("track", 0.0, -0.5, 2.0, -1, 0), "span", "x1", "x2") == [(33, 114)]
    assert chart("track", 0.5, None, None).strip() == chart("track", None, 0, 1).strip() == ""


def test_columns_are_as_high_as_their_share_of_the_highest() -> None:
    svg = chart("columns", [1, 2, 0], "Scores", ((0, "1"),), [0, 1, 0], (0.5, "from 3"))
    assert drawn(svg, "column", "x", "height")[:2] == [(0.5, 43), (100.5, 86)]
    assert drawn(svg, "threshold", "x1") == [(150,)]
    assert 'd="M0 104V104H100V18H200V104H300V104"' in svg
    assert drawn(chart("columns", [0, 0], "None", ()), "column", "x") == []


def test_points_lie_on_the_scale() -> None:
    svg = chart("scatter", [(3, 1.0), (8, 5.0), (3, 3.0)], 1, 5, ("x", "y"), "Points")
    assert drawn(svg, "point", "cx", "cy") == [(30, 150), (312, 18), (30, 84)]


@pytest.mark.parametrize(
    ("template", "value", "page"),
    [
        ("{{ it }}", "a <b> & \u202ec\x00d", "a &lt;b&gt; &amp; c d"),
        ("{{ it }}", 1234, "1,234"),
        ("({{ it }})", None, "()"),
        ("({{ it }})", " x\n", "( x )"),
        ("{{ it | prose }}", "a `<b>` (`c`)", "a <code>&lt;b&gt;</code> (<code>c</code>)"),
        ("{{ it | prose }}", "a `b c", "a `b c"),
        ("{{ it | percent(1) }}", 0.1234, "12.3%"),
        ("{{ it | percent }}", None, "\u2013"),
    ],
)
def test_values_are_shown_as_safe_text(template: str, value: object, page: str) -> None:
    assert environment().from_string(template).render(it=value) == page


def test_a_page_has_a_policy_for_its_own_script_and_style(tmp_path: Path) -> None:
    (tmp_path / "one.html").write_text('{% extends "base.html" %}{% block body %}x{% endblock %}')
    (tmp_path / "one.js").write_text("const a = 1;")
    for scripts in ((), (tmp_path / "one.js",)):
        file = io.BytesIO()
        write_page(file, tmp_path / "one.html", *scripts, title="One")
        assert_self_contained(file.getvalue())
