"""The contract of `Model` and `Backend`, for each backend with the same real model."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest
from backend_requests import SCHEMA, ask, judge

from harness.errors import DeadlineExceeded, InputError, Interrupted
from harness.models.backend import Model

pytestmark = pytest.mark.model


def test_pieces_form_the_text_and_tokens_are_counted(model: Model, embedded: Model) -> None:
    pieces: list[str] = []
    reply = model.generate(ask(seed=3), pieces.append)
    assert len(pieces) > 3
    assert "".join(pieces) == reply.text == embedded.generate(ask(seed=3)).text
    assert (reply.prompt_tokens, reply.completion_tokens) == (34, 16)
    assert reply.finish_reason == "length"
    assert 0 <= reply.cached_tokens < 34
    assert 0 < reply.seconds < 60


def test_stop_text_ends_the_completion(model: Model) -> None:
    whole = model.generate(ask(max_tokens=30)).text
    word = whole.split()[4]
    reply = model.generate(ask(max_tokens=30, stop=(word,)))
    assert reply.text == whole[: whole.index(word)]
    assert reply.finish_reason == "stop"


def test_json_follows_the_schema_in_order(model: Model) -> None:
    reply = model.generate(ask("A pet.", max_tokens=80, json_schema=SCHEMA))
    data = json.loads(reply.text)
    jsonschema.validate(data, SCHEMA)
    assert list(data) == ["zeal", "age"]
    assert reply.finish_reason == "stop"


def test_deadline_and_cancellation_end_a_generation(model: Model) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        model.generate(ask("Tell a long story.", max_tokens=400, deadline=0.8))
    assert caught.value.partial
    assert not caught.value.retryable
    cancel = threading.Event()
    with pytest.raises(Interrupted):
        model.generate(ask(max_tokens=400), lambda _: cancel.set(), cancel)
    assert model.generate(ask(max_tokens=2)).completion_tokens == 2


def test_exception_of_on_text_ends_a_generation(model: Model) -> None:
    def refuse(_: str) -> None:
        raise BrokenPipeError("nobody reads this")

    with pytest.raises(BrokenPipeError):
        model.generate(ask("Tell a long story.", max_tokens=400), refuse)
    assert model.generate(ask(max_tokens=2)).completion_tokens == 2


def test_concurrent_generations_keep_texts_and_errors(model: Model, embedded: Model) -> None:
    texts = ("Name three colours.", "Count to nine.", "Say hello.")
    cancel = threading.Event()
    with ThreadPoolExecutor(5) as pool:
        cancelled = pool.submit(model.generate, ask(max_tokens=400), lambda _: cancel.set(), cancel)
        late = pool.submit(model.generate, ask("A long story.", max_tokens=400, deadline=0.5))
        replies = [pool.submit(model.generate, ask(text, max_tokens=8)) for text in texts]
    assert isinstance(cancelled.exception(), Interrupted)
    assert isinstance(late.exception(), DeadlineExceeded)
    expected = [embedded.generate(ask(text, max_tokens=8)).text for text in texts]
    assert [reply.result().text for reply in replies] == expected


def test_logprobs_are_those_of_the_embedded_engine(model: Model, embedded: Model) -> None:
    request = judge(max_tokens=3, top_logprobs=20)
    pieces: list[str] = []
    reply = model.generate(request, pieces.append)
    expected = embedded.generate(request)
    assert "".join(pieces) == reply.text == expected.text
    assert len(reply.logprobs) == 3
    for found, own in zip(reply.logprobs, expected.logprobs, strict=True):
        assert found == pytest.approx(dict(own), abs=1e-4)
    assert [token.text for token in reply.tokens] == [token.text for token in expected.tokens]
    for token, own_token in zip(reply.tokens, expected.tokens, strict=True):
        assert token.logprob == pytest.approx(own_token.logprob, abs=1e-4)


def test_count_tokens_is_exact_or_none(model: Model) -> None:
    request = ask(max_tokens=1)
    assert model.count_tokens(request) in (None, model.generate(request).prompt_tokens)
    assert model.context in (None, 2048)


@pytest.mark.parametrize("model", ["embedded", "llama-server"], indirect=True)
def test_too_long_prompt_is_an_input_error(model: Model) -> None:
    with pytest.raises(InputError, match="context") as caught:
        model.generate(ask("word " * 3000))
    assert "Shorten the input" in str(caught.value)
