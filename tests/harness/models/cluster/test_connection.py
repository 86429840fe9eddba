"""Addresses at which no cluster can be used."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading

import pytest
from ray_nodes import free_port

from harness.errors import ClusterUnavailable, UsageError
from harness.models.cluster import connection
from harness.models.cluster.address import Address, parse_address


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
    found = parse_address(text)
    assert found == expected
    assert found is None or str(found) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "head", "head:", "head:0", "head:70000", "http://head:1", "a b:1"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError, match="not a place where a job can run"):
        parse_address(text)


pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def few_seconds(monkeypatch):
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 1.0)


@pytest.mark.parametrize("kind", ["client", "node"])
def test_address_without_an_answer_is_named(kind):
    port = free_port()
    prefix = "ray://" * (kind == "client")
    with pytest.raises(ClusterUnavailable, match=f"{prefix}127.0.0.1:{port}: no Ray answers"):
        connection.check_address(Address(kind, "127.0.0.1", port))


def test_another_service_is_not_taken_for_ray():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                client.close()

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        with pytest.raises(ClusterUnavailable, match="no Ray answers"):
            connection.check_address(Address("node", "127.0.0.1", server.getsockname()[1]))
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_folders_of_killed_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(connection.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(connection.tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / f"nanda-{ended.pid}-a" / "logs").mkdir(parents=True)
    (tmp_path / f"nanda-{os.getpid()}-b").mkdir()
    (tmp_path / "nanda-notes").mkdir()
    own = connection.own_folder()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {own.name, f"nanda-{os.getpid()}-b", "nanda-notes"}


def test_the_wrong_port_of_a_cluster_is_explained(access):
    with pytest.raises(ClusterUnavailable, match="another service of Ray answers"):
        connection.check_address(Address("client", access.host, access.port))


def test_the_head_may_fail_twice_to_start_a_server_for_the_client(access, monkeypatch):
    from ray.util.client.worker import Worker

    initialize, failures = (
        Worker._server_init,
        iter([ConnectionAbortedError("a port is taken")] * 2),
    )

    def fail_twice(*arguments):
        if (error := next(failures, None)) is not None:
            raise error
        initialize(*arguments)

    monkeypatch.setattr(Worker, "_server_init", fail_twice)
    with contextlib.closing(connection.Connection(parse_address(access.client_address))) as head:
        head.open()
        import ray

        assert ray.nodes()
