"""What the backends for servers share."""

from __future__ import annotations

import socket

import httpx
import pytest
from protocol_server import ProtocolServer

from harness.models.backends import remote


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="the system has no such option")
def test_a_machine_that_is_gone_is_noticed(failing_server: ProtocolServer) -> None:
    handle = remote.ConnectionHandle()
    with httpx.Client(event_hooks=handle.hooks, trust_env=False) as client:
        client.get(failing_server.url)
        [stream] = handle._streams
        connection = stream.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        found = {
            name: connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in remote.KEEPALIVE
        }
    assert found == remote.KEEPALIVE


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://127.0.0.1:11434", True),
        ("127.0.0.2", True),
        ("localhost:11434", True),
        (":11434", True),
        ("0.0.0.0", True),
        ("[::1]:11434", True),
        ("https://LOCALHOST/v1", True),
        ("https://api.openai.com/v1", False),
        ("192.168.0.7:11434", False),
        ("localhost.example.org", False),
    ],
)
def test_addresses_of_this_machine(address: str, local: bool) -> None:
    assert remote.is_local(address) == local
