import pytest

from harness.errors import UsageError
from harness.models.cluster.address import Address, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("local", None),
        ("ray", Address("own")),
        ("ray://head:10001", Address("client", "head", 10001)),
        (" 10.0.0.1:6379 ", Address("node", "10.0.0.1", 6379)),
        ("[::1]:6379", Address("node", "[::1]", 6379)),
    ],
)
def test_places_are_recognised(text, expected):
    found = parse(text)
    assert found == expected
    assert found is None or str(found) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "head", "head:", "head:0", "head:70000", "http://head:1", "a b:1"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError, match="not a place where a job can run"):
        parse(text)
