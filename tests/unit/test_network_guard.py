"""The tests themselves stay on this machine."""

from __future__ import annotations

import socket

import pytest


def test_a_connection_that_leaves_the_machine_is_refused() -> None:
    with socket.socket() as stray, pytest.raises(AssertionError, match=r"not to 192\.0\.2\.1"):
        stray.connect(("192.0.2.1", 104))


def test_a_name_that_is_not_ours_is_not_looked_up() -> None:
    with pytest.raises(socket.gaierror):
        socket.create_connection(("pacs.example", 104), timeout=1)


def test_loopback_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
