from collections import Counter

from harness.models.cluster.executor import Rates, node_names


def test_rates_are_those_of_the_last_minute():
    now = 0.0
    rates = Rates(lambda: now)
    assert str(rates) == ""
    a, b = ("10.0.0.1", "id"), ("10.0.0.2", "id")
    now = 10.0
    rates.add(a, 200)
    rates.add(b, 50)
    rates.add(b, 50)
    assert str(rates) == "(10.0.0.1: 20, 10.0.0.2: 10 tokens/s)"
    now = 100.0
    rates.add(b, 600)
    assert str(rates) == "(10.0.0.2: 10 tokens/s)"


def test_what_generates_nothing_has_no_rates():
    rates = Rates()
    rates.add(("10.0.0.1", "id"), 0)
    assert str(rates) == ""


def test_nodes_with_one_address_are_named_by_id():
    nodes = Counter({("h", "aaaaaaaa"): 1, ("h", "bbbbbbbb"): 1, ("i", "cccccccc"): 1})
    assert [*node_names(nodes).values()] == ["h (aaaaaa)", "h (bbbbbb)", "i"]
