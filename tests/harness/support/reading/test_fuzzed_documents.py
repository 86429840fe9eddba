"""500 of the documents of bench/fuzz.py, of each kind."""

import pytest
from fuzzed_documents import READERS, fuzz


@pytest.mark.parametrize("kind", READERS)
def test_reading_ends_with_a_result_or_the_documented_error(tmp_path, kind):
    outcomes = fuzz(kind, 500, tmp_path).outcomes
    assert sum(outcomes.values()) == 500
    assert outcomes["read"] > 20  # otherwise the documents are no test of what follows YAML
    assert len(outcomes) > 5
