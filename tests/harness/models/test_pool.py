"""The model pool: slots, usage, and prompts that do not fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from harness.errors import InputError, ModelUnavailable
from harness.models.backend import Availability, Message, Model, Reply, Request, Tool, ToolCall
from harness.models.backends.remote import shown_address
from harness.models.pool import ModelPool, Models
from harness.models.registry import ModelEntry, Registry, ServeEntry
from harness.models.served import ServedModel, Usage, label
from harness.testing import FakeBackend, FakeModel, fake_models

GOOD_FOR = 4


class Engine:
    """A backend whose models have the slots they were loaded with."""

    name = "fake"

    def __init__(self) -> None:
        self.loaded: list[FakeModel] = []
        self.most = 99

    def probe(self, entry: ServeEntry) -> Availability:
        return Availability(True)

    def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
        if (slots or GOOD_FOR) > self.most:
            raise ModelUnavailable("no memory for so many")
        self.loaded.append(FakeModel("hi", slots=slots or GOOD_FOR))
        return self.loaded[-1]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def slots_of(engine: Engine) -> Callable[[int | None], int]:
    """Return the slots of runs that request these numbers, in one pool."""
    serve = (ServeEntry(backend="fake", model="m"),)
    registry = Registry(models={"m": ModelEntry(tasks=("chat",), serve=serve)})
    models = Models(ModelPool(registry, {"fake": engine}))
    return lambda wanted: models.run("chat", lambda model: model.slots, slots=wanted)


def ask(text: str, max_tokens: int = 10) -> Request:
    return Request((Message("user", text),), max_tokens=max_tokens)


def check(model: Model, request: Request) -> None:
    fake_models(model, "chat").run("chat", lambda served: served.check_fits(request))


# Slots


@pytest.mark.parametrize(
    ("wanted", "given", "loaded"),
    [
        ([1, 1], [1, 1], [1]),
        ([None, None, None], [4, 4, 4], [4]),
        ([1, None, 1, None], [1, 4, 1, 4], [1, 4]),
        ([None, 2, None], [4, 2, 4], [4]),
        ([None, 8, None, 8], [4, 8, 4, 8], [4, 8]),
        ([8, None, None, 1], [8, 4, 4, 1], [8, 4]),
    ],
)
def test_model_is_reloaded_only_for_more_slots(
    engine: Engine,
    slots_of: Callable[[int | None], int],
    wanted: list[int | None],
    given: list[int],
    loaded: list[int],
) -> None:
    assert [slots_of(count) for count in wanted] == given
    assert [model.slots for model in engine.loaded] == loaded
    assert [model.closed for model in engine.loaded] == [True] * (len(loaded) - 1) + [False]


def test_model_without_enough_slots_still_serves_one(
    engine: Engine, slots_of: Callable[[int | None], int]
) -> None:
    engine.most = 2
    assert slots_of(1) == 1
    with pytest.raises(ModelUnavailable, match="no memory for so many"):
        slots_of(8)
    assert slots_of(1) == 1


def test_run_requests_one_slot_by_default() -> None:
    assert fake_models(FakeModel(slots=3), "chat").run("chat", lambda model: model.slots) == 1


def test_slots_of_a_fake_model() -> None:
    models = fake_models(FakeModel(slots=3), "chat")
    assert models.run("chat", lambda model: model.slots, slots=None) == 3
    assert models.run("chat", lambda model: model.slots, slots=8) == 8


# Reported facts


class Elsewhere(FakeModel):
    place = "other at http://127.0.0.1:9"
    digests: Mapping[str, str] = {"gguf": "a" * 64, "adapter": "b" * 64}

    def __init__(self) -> None:
        super().__init__()
        self.digests = type(self).digests


def test_another_place_of_a_model_is_announced_and_recorded() -> None:
    class Failing(FakeBackend):
        def load(self, entry: ServeEntry, slots: int | None = 1) -> Model:
            raise ModelUnavailable("it has gone")

    serve = tuple(ServeEntry(backend=name, model="m") for name in ("first", "second"))
    registry = Registry(models={"one": ModelEntry(tasks=("chat",), serve=serve)})
    backends = {"first": Failing(FakeModel(), name="first"), "second": FakeBackend(Elsewhere())}
    lines: list[str] = []
    models = Models(ModelPool(registry, backends), notice=lines.append)
    about = models.run("chat", lambda served: served.about)
    assert lines == [
        "model: one · second · other at http://127.0.0.1:9 · bbbbbbbb (first m: it has gone)",
    ]
    assert about["reason"] == "first m: it has gone"
    assert (about["backend"], about["place"]) == ("second", Elsewhere.place)


def test_a_place_where_there_is_nothing_is_recorded_and_not_announced() -> None:
    class Nowhere(FakeBackend):
        def probe(self, entry: ServeEntry) -> Availability:
            return Availability(False, "nothing is there", absent=True)

    serve = tuple(ServeEntry(backend=name, model="m") for name in ("first", "second"))
    registry = Registry(models={"one": ModelEntry(tasks=("chat",), serve=serve)})
    backends = {"first": Nowhere(FakeModel(), name="first"), "second": FakeBackend(Elsewhere())}
    lines: list[str] = []
    models = Models(ModelPool(registry, backends), notice=lines.append)
    about = models.run("chat", lambda served: served.about)
    assert lines == ["model: one · second · other at http://127.0.0.1:9 · bbbbbbbb"]
    assert about["reason"] == "first m: nothing is there"


def test_a_label_is_made_of_records_of_earlier_versions_too() -> None:
    about = {"resolved": "m", "backend": "ollama", "where": "m:1b", "digests": {}}
    assert label(about) == "m · ollama · m:1b"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://user:secret@box:11434/x", "http://box:11434/x"),
        ("user:secret@box", "box"),
        ("http://[::1]:11434", "http://[::1]:11434"),
        (":11434", ":11434"),
        ("https://box/a@b", "https://box/a@b"),
    ],
)
def test_addresses_are_shown_without_passwords(address: str, shown: str) -> None:
    assert shown_address(address) == shown


# Threads


class SlowReply:
    """A reply whose count is read slowly, so that threads overlap."""

    completion_tokens, seconds = 2, 0.5

    @property
    def prompt_tokens(self) -> int:
        time.sleep(0.001)
        return 3


class SlowList(list[Request]):
    def __len__(self) -> int:
        length = super().__len__()
        time.sleep(0.001)
        return length


def test_usage_is_thread_safe() -> None:
    usage, reply = Usage(), cast("Reply", SlowReply())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(usage.add, [reply] * 80))
    assert usage == Usage(240, 160, 80, 40.0)


def test_fake_model_is_thread_safe() -> None:
    model = FakeModel(*map(str, range(80)))
    model.requests = SlowList()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(model.generate, [ask(f"{n}") for n in range(80)]))
    answered = {int(reply.text): n for n, reply in enumerate(replies)}
    arrived = [int(request.messages[0].content) for request in model.requests]
    assert arrived == [answered[number] for number in range(80)]


# Requests that fit the context


def test_check_fits_with_counted_tokens() -> None:
    model = FakeModel(context=30)
    check(model, ask("word " * 20, max_tokens=10))
    with pytest.raises(InputError) as caught:
        check(model, ask("word " * 21, max_tokens=10))
    assert caught.value.message == (
        "the prompt has 21 tokens and leaves no room for an answer of 10 in the model's context "
        "of 30"
    )
    assert "Shorten the input" in str(caught.value.hint)
    assert not model.requests


def test_check_fits_without_a_known_context() -> None:
    check(FakeModel(context=None), ask("word " * 100_000))


@pytest.mark.parametrize(
    ("text", "tokens"), [("word " * 300, 500), ("東京" * 250, 500), ("x" * 1499, 500)]
)
def test_check_fits_with_estimated_tokens(
    monkeypatch: pytest.MonkeyPatch, text: str, tokens: int
) -> None:
    monkeypatch.setattr(FakeModel, "count_tokens", lambda *_: None)
    model = FakeModel(context=510)
    check(model, ask(text, max_tokens=10))
    with pytest.raises(InputError, match=f"has about {tokens} tokens and leaves no room"):
        check(model, ask(text, max_tokens=11))


def test_estimate_includes_tools_and_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeModel, "count_tokens", lambda *_: None)
    call = ToolCall("free", "x" * 296)
    said = (Message("user", "x" * 300), Message("assistant", "", (call,)))
    tool = Tool("free", "x" * 294, {})
    request = Request(said, max_tokens=10, tools=(tool,))
    check(FakeModel(context=310), request)
    with pytest.raises(InputError, match="has about 300 tokens"):
        check(FakeModel(context=309), request)


def test_model_is_kept_for_fewer_slots() -> None:
    model = FakeModel()
    registry = Registry(
        models={
            "m": ModelEntry(tasks=("chat",), serve=(ServeEntry(backend="fake", model="m"),)),
        }
    )
    models = Models(ModelPool(registry, {"fake": FakeBackend(model)}))

    def work(served: ServedModel) -> Model:
        return served.model

    assert models.run("chat", work, slots=5) is models.run("chat", work, slots=2) is model
    assert not model.closed
