"""A model that makes the same call for ever is stopped, and one that makes progress is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.chat.tool_loop import RepeatedCalls
from harness.models.backend import ToolCall
from harness.testing import FakeModel, calling, fake_app, tool_call


def test_the_same_call_with_the_same_result_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call = calling(tool_call("list_files", pattern="*.py"))
    model = FakeModel(call, call, call, "I have looked.", takes_tools=True, context=16384)
    app = fake_app(tmp_path, model)
    result = app.dispatch("/chat look for ever").result
    assert result.text == "I have looked."
    assert result.code == 1
    assert str(result.stopped) == (
        "the model has called list_files again and again with the same arguments and the same "
        "result"
    )
    assert len(model.requests) == 4
    assert not model.requests[-1].tools
    run = app.run_log.recent(9)
    assert sum(one["skill"] == "list_files" for one in run) == 3


@pytest.mark.parametrize(
    ("calls", "stuck"),
    [
        ("a1 a1 a1", "a"),
        ("a1 b1 a1 b1 b1", "b"),
        ("a1 b1 c1 a1 b1 c1 a1 b1 c1", "c"),
        ("a1 a1", ""),
        ("a1 a2 a3 a4 a5", ""),  # other results
        ("w1 t1 w2 t1 w3 t1 w4 t1", ""),  # a test that fails again after each change
    ],
)
def test_what_counts_as_progress(calls: str, stuck: str) -> None:
    repeated = RepeatedCalls()
    for number, (name, result) in enumerate(calls.split()):
        assert not repeated.stuck, number
        repeated.add(tool_call(name, x=1, y=2), result)
    assert repeated.stuck == stuck


def test_arguments_are_compared_as_objects() -> None:
    repeated = RepeatedCalls()
    for text in ('{"x": 1, "y": 2}', '{"y":2,"x":1}', '{ "x": 1, "y": 2 }'):
        repeated.add(ToolCall("a", text), "1")
    assert repeated.stuck == "a"
    repeated = RepeatedCalls()
    for text in ("{", "[", "x"):
        repeated.add(ToolCall("a", text), "1")
    assert not repeated.stuck
