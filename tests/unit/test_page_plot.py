"""The course of the tumour: honest axes, no course of one point, no point out of place."""

from __future__ import annotations

from itertools import pairwise

import pytest

from service.page.content import TimePoint
from service.page.plot import plots
from tests import pages as p


def test_a_plot_of_lengths_and_one_of_volumes() -> None:
    lengths, volumes = plots(p.HISTORY, "Sum of target lesions")
    assert (lengths.title, volumes.title) == ("Sum of target lesions, mm", "Volume, mL")
    assert [m.label for m in lengths.marks] == ["118", "96", "79"]
    assert [m.proposed for m in lengths.marks] == [False, False, True]


def test_time_is_to_scale_and_the_axis_begins_at_nothing() -> None:
    lengths, _ = plots(p.HISTORY, "Long axis")
    # 45 of 90 days
    assert [m.x for m in lengths.marks] == [0.0, 0.5, 1.0]
    assert lengths.up[0].at == 0
    assert lengths.up[0].label == "0"
    top = float(lengths.up[-1].label)
    assert [m.y for m in lengths.marks] == pytest.approx([118 / top, 96 / top, 79 / top])
    assert all(0 <= m.y <= 1 for m in lengths.marks)


def test_order_of_the_points_does_not_matter() -> None:
    assert plots(p.HISTORY[::-1], "Long axis") == plots(p.HISTORY, "Long axis")


@pytest.mark.parametrize(
    "history",
    [
        (),
        p.HISTORY[:1],
        (TimePoint(date="20260101", length_mm=1), TimePoint(date="20260101", length_mm=2)),
        (TimePoint(date="20260101", length_mm=1), TimePoint(date="", length_mm=2)),
        (TimePoint(date="20260101", length_mm=1), TimePoint(date="20269999", length_mm=2)),
        (TimePoint(date="20260101", length_mm=1), TimePoint(date="20260201", length_mm=float("nan"))),
        (TimePoint(date="20260101", length_mm=1), TimePoint(date="20260201", volume_ml=2)),
    ],
)
def test_fewer_than_two_points_are_no_course(history: tuple[TimePoint, ...]) -> None:
    assert plots(history, "Long axis") == ()


def test_a_tumour_that_is_gone_is_drawn() -> None:
    (course,) = plots((TimePoint(date="20260101", length_mm=0), TimePoint(date="20260201", length_mm=0)), "Long axis")
    assert [m.y for m in course.marks] == [0, 0]


def test_dates_do_not_run_into_each_other() -> None:
    close = tuple(TimePoint(date=f"202601{d:02d}", length_mm=10 + d) for d in range(1, 31))
    (course,) = plots(close, "Long axis")
    places = [t.at for t in course.across]
    assert (places[0], places[-1]) == (0.0, 1.0)
    assert min(b - a for a, b in pairwise(places)) >= 0.3
    assert len(course.marks) == 30
