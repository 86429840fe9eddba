"""Measures are computed once: a later evaluation of the same texts reads them from the corpus."""

from __future__ import annotations

from collections import Counter

import pytest
from evaluate_workspace import Workspace, row

from harness.runs.frontend import Outcome
from skills.evaluate import measures
from skills.evaluate.measures import Measures


class Counted:
    """Evaluates in a workspace, and counts the measures computed by each evaluation."""

    def __init__(self, space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.space = space
        self.computed: list[str] = []
        get = Measures.get

        def counting(self_: Measures, compute, *given):  # type: ignore[no-untyped-def]
            before = len(self_._new)
            found = get(self_, compute, *given)
            self.computed += [compute.__name__] * (len(self_._new) - before)
            return found

        monkeypatch.setattr(Measures, "get", counting)

    def evaluate(self, rest: str = "--models producer --consistency 2") -> Outcome:
        self.computed.clear()
        return self.space.evaluate(rest)


@pytest.fixture
def counted(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(space, monkeypatch)


def test_a_second_evaluation_computes_nothing(counted: Counted) -> None:
    first = counted.evaluate()
    assert set(counted.computed) == {
        *("of_annotation", "of_agreement", "of_anchors", "of_repetition")
    }
    requests = len(counted.space.model.requests)
    second = counted.evaluate()
    assert counted.computed == []
    assert len(counted.space.model.requests) == requests
    assert second.result.data == first.result.data


def test_a_stored_evaluation_is_not_measured_again(counted: Counted) -> None:
    counted.evaluate("--models producer save to old.json")
    counted.evaluate("--models producer --against old.json")
    assert counted.computed == []


def test_only_what_belongs_to_a_changed_gold_is_computed(counted: Counted) -> None:
    counted.evaluate()
    counted.space.write([{**row(1), "novelty": "It is new."}, *(row(n) for n in range(2, 7))])
    counted.evaluate()
    # The changed gold of paper 1 is compared with the three annotations of this paper and, as a
    # baseline, with the gold of another paper. It is also measured on both abstracts.
    assert Counter(counted.computed) == {"of_agreement": 4, "of_annotation": 2, "of_anchors": 2}


def test_other_code_computes_anew(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    first = counted.evaluate()
    computed = len(counted.computed)
    monkeypatch.setattr(measures, "_code", lambda: "other code")
    second = counted.evaluate()
    assert len(counted.computed) == computed > 0
    assert second.result.data == first.result.data
    counted.evaluate()
    assert counted.computed == []
