"""Moments of an association that sockets do not meet at will."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from service.dimse.acceptor import _States


@pytest.mark.parametrize(("state", "event"), [("Sta13", "Evt7"), ("Sta13", "Evt8"), ("Sta1", "Evt9")])
def test_answer_to_a_peer_that_has_just_left_ends_the_connection_and_no_thread(state: str, event: str) -> None:
    ended: list[str] = []
    dul: Any = SimpleNamespace(kill_dul=lambda: ended.append(state))
    states = _States(dul)
    states.current_state = state
    states.do_action(event)
    assert ended == [state]
