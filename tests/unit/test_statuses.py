"""The table of C-STORE statuses decides what happens to what we sent, and what a refused sender reads."""

from __future__ import annotations

import pytest

from service.dimse import statuses
from service.dimse.statuses import Action, describe, error_comment, what_to_do


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (0x0000, Action.DELIVERED),
        (0xB000, Action.DELIVERED_WITH_WARNING),
        (0xB006, Action.DELIVERED_WITH_WARNING),
        (0xB007, Action.DELIVERED_WITH_WARNING),
        (0xB123, Action.DELIVERED_WITH_WARNING),
        (0x0107, Action.DELIVERED_WITH_WARNING),
        (0x0111, Action.DELIVERED_WITH_WARNING),
        (0xA700, Action.RETRY),
        (0xA7FF, Action.RETRY),
        (0x0110, Action.RETRY),
        (0x0213, Action.RETRY),
        (0xA900, Action.PARK),
        (0xA9FF, Action.PARK),
        (0xC000, Action.PARK),
        (0xCFFF, Action.PARK),
        (0x0117, Action.PARK),
        (0x0122, Action.PARK),
        (0x0124, Action.PARK),
        (0x0210, Action.PARK),
        (0x0211, Action.PARK),
        (0x0212, Action.PARK),
    ],
)
def test_status_decides(status: int, action: Action) -> None:
    assert what_to_do(status) is action
    assert what_to_do(status, attempt=1000) is action


@pytest.mark.parametrize("status", [0x1234, 0xD000, 0xA800, 0xFE00, 0xFFFF])
def test_unknown_status_is_tried_five_times(status: int) -> None:
    assert [what_to_do(status, attempt=n) for n in range(1, 7)] == [Action.RETRY] * 4 + [Action.PARK] * 2
    assert "not in the standard" in describe(status)


def test_what_we_answer_is_in_the_table() -> None:
    sent = [value for name, value in vars(statuses).items() if name.isupper() and isinstance(value, int)]
    named = [s for s in sent if s > statuses.UNKNOWN_ATTEMPTS and s != statuses._LONGEST_COMMENT]
    assert len(named) == 8
    assert all(statuses.row_of(s) is not None for s in named)
    assert describe(0xA700) == "A700H (Refused: out of resources)"


def test_rows_are_ranges_of_16_bits() -> None:
    assert all(0 <= row.first <= row.last <= 0xFFFF for row in statuses.TABLE)


def test_error_comment_fits_its_element() -> None:
    assert error_comment("x" * 100) == "x" * 64
    assert error_comment("tab\there, back\\slash, é") == "tab?here, back?slash, ?"
