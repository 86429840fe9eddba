"""The OpenAI-compatible backend: against the protocol server, and against llama.cpp's own server.

The second is a true server of that protocol, of another make than the first and than the backend.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jsonschema
import pytest
from protocol_server import Meeting, ProtocolServer
from repository import EMBEDDED

from harness.errors import (
    DeadlineExceeded,
    GenerationFailed,
    HarnessError,
    InputError,
    Interrupted,
    ModelBusy,
    ModelUnavailable,
    SkillFailed,
)
from harness.models.backends import engine
from harness.models.backends.base import Availability, Message, Model, Request
from harness.models.backends.openai import OpenAIBackend, OpenAIModel
from harness.models.schema import ServeEntry
from harness.models.weights import FileStore

SCHEMA = {
    "type": "object",
    "properties": {
        "zeal": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["zeal", "age"],
    "additionalProperties": False,
}
STREAMED = "piece 0 piece 1 piece 2 "
KEY = "k-123"


class Served(NamedTuple):
    url: str
    model: str


def ask(text: str = "Name three colours.", **fields: object) -> Request:
    return Request((Message("user", text),), **{"max_tokens": 16, **fields})


def entry(url: str, model: str = "smollm2:latest", **fields: object) -> ServeEntry:
    return ServeEntry(backend="openai", model=model, url=url, **fields)


def load(server: ProtocolServer) -> OpenAIModel:
    return OpenAIBackend().load(entry(f"{server.url}/v1"))


def failure(server: ProtocolServer, how: str, **fields: object) -> HarnessError:
    """What a generation raises when the server fails in that way."""
    model = load(server)
    server.fail(how)
    with pytest.raises(HarnessError) as caught:
        model.generate(ask(**fields))
    return caught.value


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(scope="module")
def llama_server(model_files: FileStore) -> Iterator[Served]:
    """llama.cpp's own HTTP server with a context of 512 tokens and a key."""
    params = engine.module().CommonParams()
    params.model.path = str(model_files.ensure(str(EMBEDDED.gguf)))
    params.model_alias = {"smollm2"}
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.n_ctx, params.verbosity, params.api_keys = 512, 0, [KEY]
    params.endpoint_metrics, params.cache_ram_mib, params.warmup = True, 0, False
    engine.assign(params, **engine._kept(engine.module()))  # the texts are the embedded engine's
    server = engine.module().Server(params)
    server.handle_metrics()
    yield Served(f"{server.listening_address}/v1", "smollm2")
    del server  # stops it


@pytest.fixture(params=["protocol server", "llama.cpp"])
def served(request: pytest.FixtureRequest) -> Served:
    if request.param == "llama.cpp":
        return request.getfixturevalue("llama_server")
    server = request.getfixturevalue("protocol_server")
    return Served(f"{server.url}/v1", "smollm2:latest")


@pytest.fixture
def model(served: Served) -> OpenAIModel:
    backend = OpenAIBackend()
    listed = backend.probe(entry(served.url, served.model))
    assert listed == Availability(True), listed.reason
    return backend.load(entry(served.url, served.model))


# Generating


@pytest.mark.model
def test_pieces_add_up_to_the_text_and_tokens_are_counted(
    model: OpenAIModel, embedded: Model
) -> None:
    pieces: list[str] = []
    reply = model.generate(ask(seed=3), pieces.append)
    assert len(pieces) > 3
    assert "".join(pieces) == reply.text == embedded.generate(ask(seed=3)).text
    assert (reply.prompt_tokens, reply.completion_tokens) == (34, 16)
    assert reply.finish_reason == "length"


@pytest.mark.model
def test_json_under_a_schema_is_valid_and_in_order(model: OpenAIModel) -> None:
    reply = model.generate(ask("A pet.", max_tokens=80, json_schema=SCHEMA))
    data = json.loads(reply.text)
    jsonschema.validate(data, SCHEMA)
    assert list(data) == ["zeal", "age"]
    assert reply.finish_reason == "stop"


@pytest.mark.model
def test_stop_texts_end_the_completion(model: OpenAIModel) -> None:
    whole = model.generate(ask(max_tokens=30)).text
    word = whole.split()[4]
    reply = model.generate(ask(max_tokens=30, stop=(word,)))
    assert reply.text == whole[: whole.index(word)]
    assert reply.finish_reason == "stop"


@pytest.mark.model
def test_a_deadline_and_a_cancelled_run_end_the_generation(model: OpenAIModel) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        model.generate(ask("Tell a long story.", max_tokens=400, deadline=0.8))
    assert caught.value.partial
    cancel = threading.Event()
    with pytest.raises(Interrupted):
        model.generate(ask(max_tokens=400), lambda _: cancel.set(), cancel)
    assert model.generate(ask(max_tokens=2)).completion_tokens == 2


@pytest.mark.model
def test_a_prompt_that_does_not_fit_is_the_users_input(llama_server: Served) -> None:
    model = OpenAIBackend().load(entry(*llama_server))
    with pytest.raises(InputError, match="does not fit the context") as caught:
        model.generate(ask("word " * 1000))
    assert "Shorten the input" in str(caught.value)


@pytest.mark.model
def test_every_option_is_sent_as_openai_wants_it(protocol_server: ProtocolServer) -> None:
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


@pytest.mark.model
def test_generations_at_the_same_time_keep_their_texts_and_their_errors(
    model: OpenAIModel, embedded: Model
) -> None:
    texts = ("Name three colours.", "Count to nine.", "Say hello.")
    cancel = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        cancelled = pool.submit(model.generate, ask(max_tokens=400), lambda _: cancel.set(), cancel)
        replies = [pool.submit(model.generate, ask(text, max_tokens=8)) for text in texts]
    assert isinstance(cancelled.exception(), Interrupted)
    expected = [embedded.generate(ask(text, max_tokens=8)).text for text in texts]
    assert [reply.result().text for reply in replies] == expected


def test_generations_are_with_the_server_at_the_same_time() -> None:
    with ProtocolServer(Meeting(3)) as server:
        ours = OpenAIBackend().load(entry(f"{server.url}/v1"), slots=3)
        assert ours.slots == 3
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(ours.generate, ask(f"Say {n}.")) for n in range(3)]
        assert [reply.result().text for reply in asked] == ["Say 0.", "Say 1.", "Say 2."]


def test_slots_are_asked_for_or_set_and_never_guessed(failing_server: ProtocolServer) -> None:
    backend, url = OpenAIBackend(), f"{failing_server.url}/v1"
    assert backend.load(entry(url)).slots == 1
    assert backend.load(entry(url), slots=None).slots == 1
    assert backend.load(entry(url, slots=6), slots=None).slots == 6
    assert backend.load(entry(url, slots=6), slots=2).slots == 2


def test_the_context_is_known_where_the_registry_sets_it(failing_server: ProtocolServer) -> None:
    backend, url = OpenAIBackend(), f"{failing_server.url}/v1"
    unset: Model = backend.load(entry(url))
    assert unset.context is None
    assert unset.count_tokens(ask()) is None
    assert backend.load(entry(url, context=4096)).context == 4096


# Probing and loading


def test_the_models_of_a_server_are_asked_for_once(failing_server: ProtocolServer) -> None:
    backend, url = OpenAIBackend(), f"{failing_server.url}/v1"
    assert backend.probe(entry(url)) == Availability(True)
    absent = backend.probe(entry(url, "gpt-none"))
    assert absent == Availability(False, f"no model 'gpt-none' at {url}, which has smollm2:latest")
    with pytest.raises(ModelUnavailable, match="gpt-none") as caught:
        backend.load(entry(url, "gpt-none"))
    assert "Correct the model's name" in str(caught.value)
    assert [recorded.path for recorded in failing_server.requests] == ["/v1/models"]


def test_a_server_that_does_not_list_its_models_may_have_it(failing_server: ProtocolServer) -> None:
    assert OpenAIBackend().probe(entry(f"{failing_server.url}/v2")).available


def test_a_url_without_v1_is_asked_about(failing_server: ProtocolServer) -> None:
    model = OpenAIBackend().load(entry(failing_server.url))
    with pytest.raises(ModelUnavailable, match="Error code: 404") as caught:
        model.generate(ask())
    assert "Does the url end in /v1" in str(caught.value.hint)


def test_a_server_that_is_slow_to_list_its_models_is_given_time(
    failing_server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.models.backends.openai.PROBE_SECONDS", 0.2)
    failing_server.seconds_to_list = 0.6
    backend, url = OpenAIBackend(), f"{failing_server.url}/v1"
    assert backend.probe(entry(url)) == Availability(True, "slow to list its models")
    with pytest.raises(ModelUnavailable, match="no model 'gpt-none'"):
        backend.load(entry(url, "gpt-none"))
    monkeypatch.setattr("harness.models.backends.openai.LIST_SECONDS", 0.3)
    with pytest.raises(ModelUnavailable, match=r"has not answered within 0\.3 s"):
        OpenAIBackend().load(entry(url))


def test_no_proxy_is_asked_for_a_server_of_this_machine(
    failing_server: ProtocolServer, monkeypatch: pytest.MonkeyPatch, dead_proxy: None
) -> None:
    assert OpenAIBackend().probe(entry(f"{failing_server.url}/v1")) == Availability(True)


def test_url_and_key_come_from_the_entry_or_the_environment(
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
        with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY"):
            OpenAIBackend().load(entry(url))
        sent = [recorded.headers["authorization"] for recorded in server.requests]
    assert sent[:3] == [f"Bearer {KEY}", "Bearer wrong", "Bearer none"]


def test_a_key_refused_while_generating_names_its_variable(failing_server: ProtocolServer) -> None:
    model = load(failing_server)
    failing_server.api_key = "changed"
    with pytest.raises(ModelUnavailable, match="refuses the key of OPENAI_API_KEY") as caught:
        model.generate(ask())
    assert "Set the environment variable OPENAI_API_KEY" in str(caught.value)


def test_no_server_is_said_with_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        begun = time.monotonic()
        assert OpenAIBackend().probe(entry(url)).available  # mute, and perhaps far away
        assert time.monotonic() - begun < 3
    assert OpenAIBackend().probe(entry(url)).reason == f"no server answers at {url}"
    with pytest.raises(ModelUnavailable, match="no server answers") as caught:
        OpenAIBackend().load(entry(url))
    assert "Start the server" in str(caught.value)


def test_a_server_of_another_protocol_is_said(failing_server: ProtocolServer) -> None:
    failing_server.names = ()
    assert "which has none" in OpenAIBackend().probe(entry(f"{failing_server.url}/v1")).reason


# Failing


@pytest.mark.parametrize(
    ("how", "kind", "says", "hint"),
    [
        ("missing", ModelUnavailable, "no model 'smollm2:latest' at", "Correct the model's name"),
        ("busy", ModelBusy, "server busy", "try again"),
        ("gateway", ModelBusy, "bad gateway", "Try again"),
        ("quota", ModelUnavailable, "You exceeded your current quota", "the plan"),
        ("load_error", ModelUnavailable, "error loading model", "log"),
        ("refuse", SkillFailed, "this request is not taken", "will not help"),
        ("drop", ModelUnavailable, "cannot be reached", "Start the server"),
    ],
)
def test_a_refusal_is_told_apart_by_its_status(
    failing_server: ProtocolServer, how: str, kind: type, says: str, hint: str
) -> None:
    exc = failure(failing_server, how)
    assert type(exc) is kind
    assert says in exc.message
    assert failing_server.url in exc.message
    assert hint in str(exc.hint)
    assert exc.retryable == (how in ("busy", "gateway"))
    assert len(failing_server.bodies("/v1/chat/completions")) == 1, "the client retried by itself"


@pytest.mark.parametrize(
    ("said", "wait"),
    [(None, 0), ("7", 7), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("inf", 0), ("-3", -3)],
)
def test_how_long_a_busy_server_wants_to_be_left_alone(
    failing_server: ProtocolServer, said: str | None, wait: float
) -> None:
    failing_server.retry_after = said
    exc = failure(failing_server, "busy")
    assert isinstance(exc, ModelBusy)
    assert exc.wait == wait


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("error", "the runner has crashed"),
        ("cut", "the connection was cut"),
        ("unfinished", "without a finish_reason"),
        ("garbage", "no valid JSON"),
    ],
)
def test_an_answer_that_breaks_off_keeps_what_came(
    failing_server: ProtocolServer, how: str, says: str
) -> None:
    exc = failure(failing_server, how)
    assert type(exc) is GenerationFailed
    assert says in exc.message
    assert exc.partial == STREAMED
    assert "Run it again" in str(exc.hint)


def test_a_server_that_went_away_after_loading_is_unavailable() -> None:
    with ProtocolServer() as server:
        model = load(server)
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        model.generate(ask())


@pytest.mark.parametrize(("how", "partial"), [("hang", ""), ("slow", STREAMED)])
def test_the_deadline_holds_whether_the_server_hangs_or_dribbles(
    failing_server: ProtocolServer, how: str, partial: str
) -> None:
    begun = time.monotonic()
    exc = failure(failing_server, how, deadline=0.8)
    assert time.monotonic() - begun < 3
    assert isinstance(exc, DeadlineExceeded)
    assert exc.partial.startswith(partial)
    assert "within 0.8 s" in exc.message


def test_cancelling_cuts_the_connection_to_a_server_that_hangs(
    failing_server: ProtocolServer,
) -> None:
    model = load(failing_server)
    failing_server.fail("hang")
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        model.generate(ask(), cancel=cancel)
    assert time.monotonic() - begun < 2
    assert failing_server.disconnected.wait(3)
    assert not [t for t in threading.enumerate() if t.name == "generation"]


def test_the_protocol_server_refuses_what_openai_refuses(failing_server: ProtocolServer) -> None:
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
