"""The block that keeps tests off the network."""

from __future__ import annotations

import socket
import urllib.request

import pytest


def test_other_machines_are_refused():
    with pytest.raises(OSError, match="tests may not use the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_this_machine_is_allowed():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5) as client:
        assert client.getpeername()[1] == server.getsockname()[1]


def test_addresses_that_need_a_name_server_fail_too():
    with pytest.raises(OSError, match=r"network|resolution|known|Temporary|refused|proxy"):
        urllib.request.urlopen("http://example.invalid/", timeout=2)
