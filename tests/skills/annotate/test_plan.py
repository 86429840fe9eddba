"""The plan of a job: its rows in order, and how the work under each key ended."""

from __future__ import annotations

from itertools import cycle

from skills.annotate.plan import READ, Entry, Plan, Total
from skills.corpus.db.store import State

RECORD = {"claim": "It halts."}


def plan_of(*keys: str, **states: State) -> Plan:
    """Return a plan with a row of weight 10 for each key."""
    plan = Plan()
    for key in keys:
        plan.add(key, 10, states.get)
    return plan


def test_rows_are_in_order_and_share_the_state_of_their_key() -> None:
    plan = plan_of("a", "b", "a", b="failed")
    assert len(plan) == 3
    plan.set_done("a", RECORD)
    assert list(plan.entries()) == [
        Entry(0, "a", "done", first=0, made=True),
        Entry(1, "b", "failed", first=1, made=False),
        Entry(2, "a", "done", first=0, made=True),
    ]
    assert [entry.is_first for entry in plan.entries()] == [True, True, False]
    assert [entry.place for entry in plan.entries("failed")] == [1]
    assert (plan.count("done"), plan.count("failed")) == (2, 1)
    assert plan.record("a") == RECORD


def test_totals_count_weights_and_keys() -> None:
    plan = plan_of("a", "b", "a", "c", c="done")
    assert plan.totals() == {None: Total(30, 2, 20), "done": Total(10, 1, 10)}


def test_a_state_is_looked_up_once_for_each_key() -> None:
    asked: list[str] = []
    plan = Plan()
    for key in ("a", "b", "a"):
        plan.add(key, 1, asked.append)
    assert asked == ["a", "b"]


def test_what_was_done_before_the_run_is_linked_and_what_is_made_is_not() -> None:
    plan = plan_of("a", "b", "c", "a", b="done", c="failed")
    plan.set_done("a", RECORD)
    assert [entry.is_linked for entry in plan.entries()] == [False, True, False, True]


def test_more_rows_than_are_read_at_once_while_states_change() -> None:
    keys = [f"key {number}" for number in range(2 * READ + 1)]
    plan = plan_of(*keys)
    for entry, done in zip(plan.entries(), cycle((True, False)), strict=False):
        assert entry.state is None
        if done:
            plan.set_done(entry.key, RECORD)
        else:
            plan.set_failed(entry.key)
    assert [entry.key for entry in plan.entries()] == keys
    assert plan.count("done") == READ + 1


def test_the_work_of_a_row_can_be_replaced() -> None:
    plan = plan_of("a", "b", "c", b="failed")
    plan.replace(1, "better", RECORD)
    plan.replace(2, "better", {"claim": "of another paper with the same abstract"})
    assert [(entry.key, entry.state, entry.first) for entry in plan.entries()] == [
        ("a", None, 0),
        ("better", "done", 1),
        ("better", "done", 1),
    ]
    assert plan.record("better") == RECORD
