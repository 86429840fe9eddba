"""500 of the documents of bench/fuzz.py, of each kind."""

import pytest
from fuzzed_documents import READERS, fuzz

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", READERS)
def test_reading_ends_with_a_result_or_the_documented_error(tmp_path, kind):
    outcomes = fuzz(kind, 500, tmp_path).outcomes
    assert sum(outcomes.values()) == 500
    # The code that follows YAML parsing is tested only by documents that can be read. Their
    # number depends on the imported modules, since Hypothesis uses constants of these modules.
    assert outcomes["read"] > 10
    assert len(outcomes) > 5
