"""YAML that would take a reader's memory, time or stack."""

import time

import pytest
import yaml
from hostile_files import DOCUMENTS

from harness.support import yaml_files
from harness.support.yaml_files import DataLoader, Excess, TextLoader, parse


@pytest.mark.parametrize("loader", [DataLoader, TextLoader])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_excess_is_refused(name, loader):
    started = time.process_time()
    with pytest.raises(Excess):
        parse(DOCUMENTS[name], loader)
    assert time.process_time() - started < 5  # without limits, it takes minutes or all memory


@pytest.mark.parametrize("name", DOCUMENTS)
def test_excess_is_refused_without_libyaml(name, monkeypatch):
    monkeypatch.setattr(yaml_files, "SafeLoader", yaml.SafeLoader)
    started = time.process_time()
    with pytest.raises(Excess):
        yaml_files.check(DOCUMENTS[name])
    assert time.process_time() - started < 20


def test_half_a_surrogate_pair_is_refused_without_libyaml(monkeypatch):
    monkeypatch.setattr(yaml_files, "SafeLoader", yaml.SafeLoader)
    with pytest.raises(Excess, match="half of a surrogate pair"):
        yaml_files.check('a: "\\ud800"\n')


def test_ordinary_aliases_and_merges_work():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]\n"
    assert parse(text)[1]["b"] == {"x": 1, "y": 3}
    assert parse(text)[1]["c"] == [{"x": 1, "y": 2}] * 2


def test_merged_keys_are_no_duplicates():
    root, _ = parse("a: &a {x: 1}\nb: {<<: *a, x: 2}\n")
    assert [key.value for key, _ in root.value[1][1].value] == ["<<", "x"]


@pytest.mark.parametrize(
    "value",
    [
        "9" * 5000,
        "1" + ":1" * 20_000,
        f"0x{'f' * 60_000}",
        f"{2**64 * 10}",
        "!!float 1" + ":1" * 300 + ".5",
        "!!timestamp {=: x}",
        "2001-12-14t21:59:43.10+99:99",
        "!!bool {=: [x]}",
        "!!omap [1]",
        "!!binary '\u00e9'",
        "!!python/object/apply:os.getcwd []",
        '"\\ud800"',
        "*missing",
    ],
)
def test_odd_values_are_yaml_errors(value):
    with pytest.raises(yaml.YAMLError):
        parse(f"a: {value}\n")


def test_keys_that_collide_are_refused():
    """Multiples of 2 ** 61 - 1 have one hash in Python, which makes a mapping quadratic."""
    text = "".join(f"{(2**61 - 1) * n}: 1\n" for n in range(9000))
    with pytest.raises(yaml.YAMLError, match="is not a valid int"):
        parse(text)


def test_libyaml_is_used():
    assert yaml.__with_libyaml__
    assert issubclass(yaml_files.SafeLoader, yaml.CSafeLoader)
