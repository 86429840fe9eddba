"""Serve entries with several `urls`, over servers of both protocols."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from backend_requests import ask, remote_of
from protocol_server import Meeting, ProtocolServer

from harness.errors import GenerationFailed, ModelBusy, ModelUnavailable, SkillFailed
from harness.models.backend import Availability, Request, Tool
from harness.models.backends.server_group import PAUSE, Balanced, BalancedBackend
from harness.models.registry import ServeEntry
from harness.testing import FakeModel


@dataclass
class Servers:
    """Servers of one protocol. The text of each answer is the number of its server.

    Attributes:
        notices: what the models reported.
    """

    name: str
    running: list[ProtocolServer]
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        remotes = [remote_of(self.name, server) for server in self.running]
        self.urls = [remote.url for remote in remotes]
        self.chats, self.model = remotes[0].chats, remotes[0].model
        self.backend = BalancedBackend(remotes[0].backend)

    def entry(self, *urls: str, **fields: Any) -> ServeEntry:
        urls = urls or tuple(self.urls)
        return ServeEntry(backend=self.name, model=self.model, urls=urls, **fields)

    def load(self, workers: int | None = 1, **fields: Any) -> Balanced:
        model = self.backend.load(self.entry(**fields), workers)
        assert isinstance(model, Balanced)
        model.report_to(self.notices.append)
        return model

    def sent(self) -> list[int]:
        """The number of chat requests of each server."""
        return [len(server.bodies(self.chats)) for server in self.running]

    def stop(self, number: int) -> None:
        self.running[number].__exit__()

    def start(self, number: int) -> None:
        """Start a stopped server again at its address."""
        port = int(self.running[number].url.rpartition(":")[2])
        again = ProtocolServer(FakeModel(str(number)), port=port)
        self.running[number] = again.__enter__()


@pytest.fixture(params=["ollama", "openai"])
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Two servers."""
    started = [ProtocolServer(FakeModel(str(number))).__enter__() for number in range(2)]
    pair = Servers(request.param, started)
    yield pair
    for server in pair.running:
        server.__exit__()


@pytest.fixture
def elapse(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let seconds pass at once."""
    passed: list[float] = []
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + sum(passed))
    return passed.append


def texts(model: Balanced, count: int) -> list[str]:
    return [model.generate(ask()).text for _ in range(count)]


class Held(FakeModel):
    """Answers "held" as soon as it is released."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.arrived, self.released = threading.Event(), threading.Event()

    def _wait(self, request: Request) -> str:
        self.arrived.set()
        assert self.released.wait(20)
        return "held"


# Sharing the work


def test_servers_without_work_are_used_in_turn(servers: Servers) -> None:
    assert texts(servers.load(), 4) == ["0", "1", "0", "1"]
    assert servers.sent() == [2, 2]
    assert not servers.notices


def test_a_request_goes_to_the_server_with_the_least_work(servers: Servers) -> None:
    servers.running[0].model = held = Held()
    model = servers.load()
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(model.generate, ask())
        assert held.arrived.wait(20)
        assert texts(model, 4) == ["1"] * 4
        held.released.set()
        assert reply.result().text == "held"


def test_each_server_takes_as_many_requests_as_it_has_slots(servers: Servers) -> None:
    for server in servers.running:
        server.model = Meeting(3)
    model = servers.load(None, slots=3)
    assert model.slots == 6
    with ThreadPoolExecutor(model.slots) as pool:
        assert len(list(pool.map(model.generate, [ask()] * 6))) == 6
    assert servers.sent() == [3, 3]
    assert servers.load(4, slots=3).slots == 4


# Servers that fail


def test_a_server_that_is_down_is_left_out_and_reported_once(servers: Servers) -> None:
    servers.stop(0)
    model = servers.load()
    assert texts(model, 3) == ["1"] * 3
    model.report_to(servers.notices.append)  # the next run calls this, too
    [notice] = servers.notices
    assert notice.startswith("server left out: ")
    assert servers.running[0].url in notice


def test_a_server_that_goes_down_is_left_out_and_its_request_goes_to_another(
    servers: Servers,
) -> None:
    model = servers.load()
    servers.stop(0)
    assert texts(model, 3) == ["1"] * 3
    [notice] = servers.notices
    assert f"{servers.running[0].url}" in notice
    assert "cannot be reached" in notice


@pytest.mark.parametrize("how", ["error", "cut", "unfinished", "garbage"])
def test_an_answer_that_breaks_off_is_raised_and_its_server_left_out(
    servers: Servers, how: str
) -> None:
    servers.running[0].fail(how)
    model = servers.load()
    with pytest.raises(GenerationFailed) as caught:
        model.generate(ask())
    assert caught.value.retryable
    assert texts(model, 3) == ["1"] * 3
    [notice] = servers.notices
    assert f"{servers.running[0].url}" in notice
    assert "interrupted its answer" in notice


def test_a_server_that_comes_back_is_taken_up_after_the_pause(
    servers: Servers, elapse: Callable[[float], None]
) -> None:
    model = servers.load()
    servers.stop(0)
    assert texts(model, 1) == ["1"]
    elapse(PAUSE)
    assert texts(model, 1) == ["1"]  # server 0 was tried, and is still down
    servers.start(0)
    assert texts(model, 1) == ["1"]  # server 0 is not tried within the pause
    elapse(PAUSE)
    assert texts(model, 2) == ["0", "1"]
    address = servers.urls[0].rstrip("/")
    assert len(servers.notices) == 2
    assert servers.notices[1] == f"server serves again: {address}"


def test_a_server_that_was_down_at_first_is_taken_up(
    servers: Servers, elapse: Callable[[float], None]
) -> None:
    servers.stop(1)
    model = servers.load(None, slots=2)
    assert model.slots == 4  # the equal server counts, since it may come back
    servers.start(1)
    elapse(PAUSE)
    assert set(texts(model, 2)) == {"0", "1"}


def test_a_server_that_comes_back_with_another_model_is_not_used(
    servers: Servers, elapse: Callable[[float], None]
) -> None:
    model = servers.load()
    servers.stop(0)
    assert texts(model, 1) == ["1"]
    servers.start(0)
    servers.running[0].digest, servers.running[0].names = "cd" * 32, ("other:latest",)
    if servers.name == "ollama":
        servers.running[0].names = ("smollm2:latest",)
    elapse(PAUSE)
    assert texts(model, 3) == ["1"] * 3
    expected = "has another model now" if servers.name == "ollama" else "no model"
    assert expected in servers.notices[1]
    assert len(servers.notices) == 2


def test_a_failed_server_is_tried_before_its_pause_is_over_if_no_other_is_left(
    servers: Servers,
) -> None:
    model = servers.load()
    for server in servers.running:
        server.fail("cut")
        with pytest.raises(GenerationFailed):
            model.generate(ask())
        server.fail(None)
    assert texts(model, 1) == ["0"]


def test_no_server_left(servers: Servers, elapse: Callable[[float], None]) -> None:
    model = servers.load()
    for number in range(2):
        servers.stop(number)
    elapse(PAUSE)
    with pytest.raises(ModelUnavailable, match="no server serves smollm2") as caught:
        model.generate(ask())
    assert all(server.url in caught.value.message for server in servers.running)
    with pytest.raises(ModelUnavailable, match="no server serves smollm2"):
        servers.load()


def test_a_busy_server_is_not_left_out(servers: Servers) -> None:
    servers.running[0].fail("busy")
    model = servers.load()
    assert texts(model, 2) == ["1", "1"]
    servers.running[0].retry_after, servers.running[1].retry_after = "9", "4"
    servers.running[1].fail("busy")
    with pytest.raises(ModelBusy) as caught:
        model.generate(ask())
    assert caught.value.wait == 4
    assert not servers.notices
    servers.running[0].fail(None)
    assert texts(model, 1) == ["0"]


def test_a_refused_request_is_not_sent_to_another_server(servers: Servers) -> None:
    servers.running[0].fail("refuse")
    model = servers.load()
    with pytest.raises(SkillFailed):
        model.generate(ask())
    assert servers.sent() == [1, 0]
    assert not servers.notices


def test_tools_that_one_server_refused_are_not_supported() -> None:
    with ProtocolServer(FakeModel("0")) as one, ProtocolServer(FakeModel("1")) as other:
        model = Servers("openai", [one, other]).load()
        assert model.takes_tools
        other.tools = "refused"
        tool = Tool("look", "Looks.", {"type": "object", "properties": {}})
        for _ in range(2):
            model.generate(ask(tools=(tool,)))
        assert not model.takes_tools
        assert "does not support tools" in model.tools_refused


# Equal servers


def test_servers_of_other_models_are_refused(servers: Servers) -> None:
    servers.running[1].names = ("other:latest",)
    with pytest.raises(ModelUnavailable, match="do not serve the same model smollm2") as caught:
        servers.load()
    assert servers.running[0].url in caught.value.message
    assert servers.running[1].url in caught.value.message
    assert not servers.backend.probe(servers.entry()).available


def test_digests_must_be_equal() -> None:
    with ProtocolServer(FakeModel()) as one, ProtocolServer(FakeModel()) as other:
        servers = Servers("ollama", [one, other])
        assert servers.load().digests == {"ollama": "ab" * 32}
    with ProtocolServer(FakeModel()) as one, ProtocolServer(FakeModel()) as other:
        servers = Servers("ollama", [one, other])
        other.digest = "cd" * 32
        with pytest.raises(ModelUnavailable) as caught:
            servers.load()
        assert f"{one.url}: abababab; {other.url}: cdcdcdcd" in caught.value.message


# Reported facts


def test_the_place_names_the_servers(servers: Servers) -> None:
    first, second = servers.urls
    assert servers.load().place == f"{servers.model} at {first}, {second}"
    many = servers.backend.load(servers.entry(first, *(f"{first}?{n}" for n in range(4))))
    assert getattr(many, "place").endswith("?1 and 2 more")  # noqa: B009


def test_a_probe_counts_the_servers(servers: Servers) -> None:
    assert servers.backend.probe(servers.entry()) == Availability(True, "2 servers")
    servers.stop(1)
    again = Servers(servers.name, servers.running)
    found = again.backend.probe(servers.entry())
    assert found.available
    assert found.reason.startswith("1 of 2 servers; ")
    assert servers.running[1].url in found.reason


def test_a_password_in_an_address_is_not_shown(servers: Servers) -> None:
    secret = servers.urls[0].replace("http://", "http://user:secret@")
    model = servers.backend.load(servers.entry(secret, servers.urls[1]))
    assert "secret" not in getattr(model, "place")  # noqa: B009
