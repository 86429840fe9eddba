"""The stage `prepare`: reading, splitting, rendering and tokenizing rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from finetune_rows import row, saved

from harness.errors import InputError
from skills.finetune.tokenization.examples import Example, read_examples, split
from skills.nanda.paper import abstract_digest


def example(number: int, source: str = "gold", **changes: Any) -> Example:
    values = {"id": f"p{number}", "sha256": f"{number:064}", **changes}
    return Example(
        source=source,  # type: ignore[arg-type]
        weight=1.0,
        messages=[{"role": "user", "content": "x"}],
        completion="y",
        where=f"rows.jsonl, line {number}",
        **values,
    )


def test_dev_share_is_gold_only_and_stable() -> None:
    rows = [example(number) for number in range(400)]
    rows += [example(number, "agent") for number in range(400, 800)]
    parted = split(rows, None, 0.1, 42)
    assert {one.source for one in parted.dev} == {"gold"}
    assert 20 < len(parted.dev) < 60
    assert parted.kept_out == []
    assert sorted([*parted.train, *parted.dev], key=lambda one: int(one.id[1:])) == rows
    more = [example(number) for number in range(1000, 1400)]
    again = split([*reversed(rows[::2]), *more], None, 0.1, 42)
    chosen = {one.id for one in parted.dev}
    kept = {one.id for one in rows[::2]}
    assert {one.id for one in again.dev} & kept == chosen & kept
    assert {one.id for one in split(rows, None, 0.1, 43).dev} != chosen


def test_a_paper_is_never_on_both_sides_of_the_split() -> None:
    dev = [example(1)]
    rows = [
        example(1),
        example(2, sha256=f"{1:064}"),
        example(3, "agent", id="p2"),
        example(4, "agent", sha256=f"{3:064}"),
        example(5, id="arXiv:2401.00001v2"),
        example(6),
    ]
    parted = split(rows, [*dev, example(9, id="2401.00001")], 0.5, 42)
    assert [one.where[-1] for one in parted.train] == ["6"]
    assert sorted(one.where[-1] for one in parted.kept_out) == ["1", "2", "3", "4", "5"]
    assert len(parted.dev) == 2


def test_a_dev_row_that_is_not_gold_is_refused() -> None:
    with pytest.raises(InputError, match=r"line 2: is a dev row of the source agent"):
        split([example(1)], [example(2, "agent")], 0.1, 42)


def test_a_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(InputError, match="no row is left to train on"):
        split([example(1)], [example(1)], 0.1, 42)


MESSAGES = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "It."}]


@pytest.mark.parametrize(
    "line",
    [
        {"prompt": "Say it.", "completion": "It."},
        {"prompt": MESSAGES[:1], "completion": MESSAGES[1:]},
        {"messages": MESSAGES, "topic": "other keys are not looked at"},
    ],
)
def test_rows_of_other_tools_are_read(tmp_path: Path, line: Mapping[str, Any]) -> None:
    (one,) = read_examples(saved(tmp_path, [line]))
    assert one.messages == MESSAGES[:1]
    assert (one.completion, one.source, one.weight) == ("It.", "gold", 1.0)
    assert one.sha256 == abstract_digest("Say it.")
    assert one.id == one.sha256[:12]


def test_earlier_messages_are_kept_after_the_system_text(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    rows = [
        {"prompt": "Say it.", "completion": "It.", "system": "Be brief.", "id": 7},
        {"messages": [system, *MESSAGES, *MESSAGES]},
    ]
    first, second = read_examples(saved(tmp_path, rows))
    assert first.messages == [system, MESSAGES[0]]
    assert first.id == "7"
    assert second.messages == [system, *MESSAGES, MESSAGES[0]]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "data set: Invalid JSON"),
        ("[1]", "data set: Input should be an object"),
        ('{"prompt": "a"}', "it needs prompt and completion, or messages"),
        ('{"text": "a"}', "it needs prompt and completion, or messages"),
        ('{"prompt": "a", "completion": " "}', "completion.0.content: String should match"),
        ('{"prompt": "", "completion": "b"}', "prompt.0.content: String should match"),
        ('{"prompt": "a", "completion": "b", "system": ""}', "system: String should match"),
        ('{"prompt": ["a"], "completion": "b"}', "prompt.0: Input should be an object"),
        ('{"messages": [{"role": "robot", "content": "a"}]}', "messages.0.role: Input should be"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "it does not end with messages"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "it does not end with messages"),
        ('{"prompt": "a", "completion": "b", "source": "silver"}', "source: Input should be"),
        ('{"prompt": "a", "completion": "b", "weight": 0}', "weight: Input should be greater"),
        ('{"prompt": "a", "completion": "b", "weight": NaN}', "weight: Input should be"),
    ],
)
def test_invalid_line_is_refused_with_its_place(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(row(0))}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_examples(path)
    assert complaint in str(refused.value)
    assert str(refused.value).startswith(f"{path}, line 3: ")


def test_a_data_set_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n\n")
    with pytest.raises(InputError, match="has no rows"):
        read_examples(path)
    with pytest.raises(InputError, match=r"none\.jsonl"):
        read_examples(tmp_path / "none.jsonl")
