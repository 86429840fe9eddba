"""The plan of a job: its rows in order, their requests, and how the work under each key ended."""

from __future__ import annotations

from itertools import cycle

from harness.models.backend import Message, Request
from skills.annotate.annotator import Prepared
from skills.annotate.plan import READ, Entry, Plan, Total
from skills.corpus.db.store import State
from skills.nanda.framework import nanda
from skills.nanda.generated_forms import JsonForm
from skills.nanda.paper import Paper

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
    added = [plan.add(key, 1, asked.append) for key in ("a", "b", "a")]
    assert asked == ["a", "b"]
    assert added == [Entry(0, "a", None, 0, False), Entry(1, "b", None, 1, False), None]


def test_what_was_done_before_the_run_is_linked_and_what_is_made_is_not() -> None:
    plan = plan_of("a", "b", "c", "a", b="done", c="failed")
    plan.set_done("a", RECORD)
    assert (plan.count("done"), plan.count("done", made=True)) == (3, 2)
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


def test_a_request_is_kept_with_its_form() -> None:
    paper = Paper("id", "1", "", "It halts.")
    form = JsonForm(nanda())
    plan = plan_of("a", "b")
    for key in ("a", "b"):
        messages = (Message("system", "Annotate." * 100), Message("user", key))
        made = Prepared(paper, form, Request(messages, seed=3), {"key": key})
        plan.keep_request(made)
        found = plan.request(key, paper)
        assert found == made
        assert found is not None
        assert found.form is form
    assert plan_of("c").request("c", paper) is None


def test_requests_with_the_same_instructions_are_stored_in_little_space() -> None:
    paper = Paper("id", "1", "", "It halts.")
    instructions = " ".join(map(str, range(1000)))
    plan = plan_of("a", "b")
    for key in ("a", "b"):
        request = Request((Message("system", instructions), Message("user", key)))
        plan.keep_request(Prepared(paper, JsonForm(nanda()), request, {"key": key}))
    sizes = plan._db.execute("SELECT length(request) FROM work").fetchall()
    assert max(sizes) < (len(instructions) / 10,)
