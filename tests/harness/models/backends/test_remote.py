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
