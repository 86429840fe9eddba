"""What is specific to OpenAI-compatible servers: keys, addresses, prefill and refusals.

See also tests/contract.
"""

from __future__ import annotations

import json

import pytest
from backend_requests import KEY, SCHEMA, ask, judge, remote_of
from protocol_server import ProtocolServer

from harness.errors import ModelBusy, ModelUnavailable, SkillFailed
from harness.models.backend import Availability, Model
from harness.models.backends.openai import OpenAIBackend, OpenAIModel
from harness.models.registry import ServeEntry
from harness.testing import FakeModel


def entry(url: str, model: str = "smollm2:latest", **fields: object) -> ServeEntry:
    return ServeEntry(backend="openai", model=model, url=url, **fields)


def load(server: ProtocolServer) -> OpenAIModel:
    return OpenAIBackend().load(entry(f"{server.url}/v1"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.model
def test_options_are_sent_in_openais_form(protocol_server: ProtocolServer) -> None:
    load(protocol_server).generate(
        ask("Hi", max_tokens=3, temperature=0.5, seed=9, stop=("END",), json_schema=SCHEMA)
    )
    sent = protocol_server.bodies("/v1/chat/completions")[0]
    assert json.dumps(sent.pop("response_format")["json_schema"]) == json.dumps(
        {"name": "reply", "strict": True, "schema": SCHEMA}
    )
    assert sent == {
        "model": "smollm2:latest",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 3,
        "temperature": 0.5,
        "seed": 9,
        "stop": ["END"],
    }


def test_context_is_known_if_configured(failing_server: ProtocolServer) -> None:
    backend, url = OpenAIBackend(), f"{failing_server.url}/v1"
    unset: Model = backend.load(entry(url))
    assert unset.context is None
    assert unset.count_tokens(ask()) is None
    assert backend.load(entry(url, context=4096)).context == 4096


def test_server_without_a_model_list_is_available(failing_server: ProtocolServer) -> None:
    assert OpenAIBackend().probe(entry(f"{failing_server.url}/v2")).available


def test_hint_for_a_url_without_v1(failing_server: ProtocolServer) -> None:
    model = OpenAIBackend().load(entry(failing_server.url))
    with pytest.raises(ModelUnavailable, match="404 page not found") as caught:
        model.generate(ask())
    assert "the url ends in /v1" in str(caught.value.hint)


def test_server_that_lists_its_models_slowly_is_available(
    failing_server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.models.backends.remote.PROBE_SECONDS", 0.2)
    failing_server.seconds_to_list = 0.6
    slow = entry(f"{failing_server.url}/v1")
    unlisted = Availability(True, "its models are not listed")
    assert OpenAIBackend().probe(slow) == unlisted
    assert OpenAIBackend().load(slow).takes_tools


def test_url_and_key_from_entry_or_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ProtocolServer(api_key=KEY) as server:
        url = f"{server.url}/v1"
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("MY_KEY", "wrong")
        from_environment = ServeEntry(backend="openai", model="smollm2:latest")
        assert OpenAIBackend().probe(from_environment).available
        wrong = OpenAIBackend().probe(entry(url, api_key_env="MY_KEY"))
        assert wrong.reason == f"{url} refuses the key of MY_KEY"
        monkeypatch.delenv("OPENAI_API_KEY")
        unset = OpenAIBackend().probe(entry(url))
        assert unset.reason == f"{url} refuses the key of OPENAI_API_KEY (not set)"
        with pytest.raises(ModelUnavailable, match="Set the environment variable OPENAI_API_KEY"):
            OpenAIBackend().load(entry(url))
        sent = [recorded.headers["authorization"] for recorded in server.requests]
    assert sent[:3] == [f"Bearer {KEY}", "Bearer wrong", "Bearer none"]


def test_refused_key_names_its_variable(failing_server: ProtocolServer) -> None:
    model = load(failing_server)
    failing_server.api_key = "changed"
    with pytest.raises(ModelUnavailable, match="refuses the key of OPENAI_API_KEY") as caught:
        model.generate(ask())
    assert "Set the environment variable OPENAI_API_KEY" in str(caught.value)


def test_server_without_models(failing_server: ProtocolServer) -> None:
    failing_server.names = ()
    assert "which has none" in OpenAIBackend().probe(entry(f"{failing_server.url}/v1")).reason


def test_exhausted_quota_is_not_retried(failing_server: ProtocolServer) -> None:
    exc = remote_of("openai", failing_server).failure("quota", ask())
    assert type(exc) is ModelUnavailable
    assert "You exceeded your current quota" in exc.message
    assert "the plan" in str(exc.hint)


@pytest.mark.parametrize(
    ("header", "wait"),
    [(None, 0), ("7", 7), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("inf", 0), ("-3", 0)],
)
def test_retry_after_header(
    failing_server: ProtocolServer, header: str | None, wait: float
) -> None:
    failing_server.retry_after = header
    exc = remote_of("openai", failing_server).failure("busy", ask())
    assert isinstance(exc, ModelBusy)
    assert exc.wait == wait


def test_protocol_server_refuses_what_openai_refuses(failing_server: ProtocolServer) -> None:
    import requests

    url = f"{failing_server.url}/v1/chat/completions"
    chat = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
    }
    loose = {"name": "x", "strict": True, "schema": {"type": "object"}}
    for wrong in (
        {"stop": 5},
        {"temperature": "hot"},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": loose}},
        {"messages": [{"role": "user"}]},
    ):
        answer = requests.post(url, json={**chat, **wrong}, timeout=5)
        assert (answer.status_code, "message" in answer.json()["error"]) == (400, True)


def test_refused_logprobs_are_left_out() -> None:
    with ProtocolServer(FakeModel("4")) as server:
        server.logprobs = "refused"
        reply = load(server).generate(judge())
        asked, without = server.bodies("/v1/chat/completions")
    assert (reply.text, reply.logprobs) == ("4", ())
    assert {key: asked[key] for key in asked.keys() - without.keys()} == {
        "logprobs": True,
        "top_logprobs": 20,
    }


def test_request_refused_without_logprobs_fails() -> None:
    with ProtocolServer(FakeModel("4")) as server:
        model = load(server)
        server.fail("refuse")
        with pytest.raises(SkillFailed, match="this request is not taken"):
            model.generate(judge())
        assert len(server.bodies("/v1/chat/completions")) == 2


def test_vllm_continues_a_prefill() -> None:
    with ProtocolServer(FakeModel("Rating: 4")) as server:
        server.owner = "vllm"
        model = load(server)
        assert model.generate(judge()).text == "Rating: 4"
        assert model.generate(judge(prefill="")).text == "Rating: 4"
        begun, plain = server.bodies("/v1/chat/completions")
    assert (begun["continue_final_message"], begun["add_generation_prompt"]) == (True, False)
    assert "continue_final_message" not in plain


@pytest.mark.parametrize("prefill", ["Rating: ", "My own rating: "])
def test_repeated_prefill_is_removed(prefill: str) -> None:
    pieces: list[str] = []
    with ProtocolServer(FakeModel(f"{prefill}4")) as server:
        reply = load(server).generate(judge(prefill=prefill), pieces.append)
    assert reply.text == "4" == "".join(pieces)


def test_answer_within_the_prefill_is_kept() -> None:
    with ProtocolServer(FakeModel("My")) as server:
        assert load(server).generate(judge(prefill="My own rating: ")).text == "My"


def test_models_without_an_owner_are_served() -> None:
    with ProtocolServer(FakeModel("4")) as server:
        server.owner = ""
        assert load(server).generate(judge()).text == "4"
