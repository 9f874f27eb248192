"""The course as rows of the SR, as tables and as a picture: the same numbers everywhere, and what nobody confirmed says so."""

from __future__ import annotations

import datetime as dt
import io
import re
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from pydicom import dcmread

from service.export.fhir_response import Occasion, ResponseStatus, response
from service.flow.objects import content
from service.flow.produce import Produced
from service.model.course import Course, CoursePoint
from service.model.report_json import from_json, to_json
from service.page.content import Captions, CourseTable, PageContent
from service.page.course_picture import WIDTH, course_picture
from service.page.course_table import course_tables
from service.page.hypertext import web_page
from service.page.pdf import page, page_count
from service.page.pictures import KeyImages
from service.page.plot import plots
from service.sr.parse import parse
from service.sr.phrases import ENGLISH, wording
from tests import builders as b
from tests import over_time
from tests import pages as p
from tests.fhir_reading import read_response

PRODUCED, PRIOR = over_time.last()
ITEMS = (("fu.sum_course", ""), ("fu.course", "LMS-T1"), ("fu.course", "LMS-T2"))


def rows(produced: Produced = PRODUCED) -> list[tuple[object, ...]]:
    """Return the rows of each course."""
    return [a.values for item, subject in ITEMS for a in produced.report.answers_of(item, subject)]


def shown(produced: Produced = PRODUCED, **changes: object) -> PageContent:
    """Return the page of the report."""
    arguments: dict[str, object] = {"prior": PRIOR, **changes}
    return content(
        produced,
        KeyImages(),
        version=1,
        sop_instance_uid="2.25.7",
        created_at=b.CREATED_AT,
        **arguments,  # type: ignore[arg-type]
    )


# --- rows of the SR ----------------------------------------------------------------------------------------------------


def test_each_examination_is_a_row_and_reads_back() -> None:
    assert [len(r) for r in rows()] == [4, 4, 4]
    report = b.rendered(PRODUCED)[0]
    back = parse(dcmread(io.BytesIO(report.part10)), PRODUCED.template)
    assert back == PRODUCED.report
    assert from_json(to_json(PRODUCED.report)) == PRODUCED.report


def test_rows_go_through_fhir() -> None:
    occasion = Occasion(status=ResponseStatus.IN_PROGRESS, authored=dt.datetime(2026, 3, 1, tzinfo=dt.UTC))
    back = read_response(response(PRODUCED.report, PRODUCED.template, occasion), PRODUCED.template)
    for item, subject in ITEMS:
        assert back.answers_of(item, subject) == PRODUCED.report.answers_of(item, subject)


def test_a_report_with_the_course_in_one_line_reads_back() -> None:
    line = "2025-10-01: long axis 60 mm; 2026-01-01: long axis 45 mm (not confirmed); 2026-03-01: long axis 50 mm" * 12
    answers = tuple(replace(a, values=(line,)) if a.item == "fu.course" else a for a in PRODUCED.report.answers)
    old = replace(PRODUCED, report=replace(PRODUCED.report, answers=answers))
    back = parse(dcmread(io.BytesIO(b.rendered(old)[0].part10)), old.template)
    assert back.answers_of("fu.course", "LMS-T1")[0].values == (line,)


# --- tables ------------------------------------------------------------------------------------------------------------


def test_the_tables_say_what_the_rows_say() -> None:
    for table, told in zip(shown().courses, rows(), strict=True):
        for row, text in zip(table.rows, told, strict=True):
            assert str(text).startswith(f"{row.date}: ")
            numbers = [float(n) for n in re.findall(r"[+-]?\d+\.?\d*(?= )", str(text))]
            for cell in (c for c in row.cells if c not in {"", "baseline"}):
                # the row has as many digits as the answer
                assert any(abs(float(cell) - n) <= 0.05 for n in numbers), (cell, text)
            assert ("baseline" in row.cells) == ("(baseline)" in str(text))


def test_a_table_has_the_examinations_as_lines_and_only_columns_that_say_something() -> None:
    sums, first, second = shown().courses
    assert (sums.title, first.title, second.title) == (
        "Course: Sum of target lesions",
        "Course: LMS-T1",
        "Course: LMS-T2",
    )
    assert sums.columns == ("Sum", "from baseline", "from nadir")
    assert list(zip(first.columns, first.units, strict=True)) == [
        ("Long axis", "mm"),
        ("from baseline", "%"),
        ("from nadir", "%"),
        ("Volume", "mL"),
        ("Volume change", "%"),
        ("Doubling time", "days"),
    ]
    assert [(r.date, r.cells, r.stands, r.here) for r in first.rows] == [
        ("2025-10-01", ("118.2", "baseline", "", "684.4", "", ""), "confirmed", False),
        ("2025-12-03", ("79.4", "-32.8", "-32.8", "327.1", "-52.2", ""), "confirmed", False),
        ("2026-01-15", ("78.1", "-33.9", "-1.6", "310.0", "-5.2", ""), "proposed", False),
        ("2026-03-01", ("88.3", "-25.3", "+11.2", "402.5", "+29.8", "119"), "proposed", True),
    ]
    # the sizes of the targets are confirmed, the baseline sum is not
    assert sums.rows[1].stands == "partly proposed"


def test_the_tables_stand_for_the_answers_in_words() -> None:
    def labels(of: PageContent) -> set[str]:
        return {r.item for t in (*of.lesions, *of.sections) for r in t.rows}

    assert not {"Course", "Course of the sum"} & labels(shown())
    # without what earlier examinations say there is no table: the words stay
    assert {"Course", "Course of the sum"} <= labels(shown(prior=None))


def point(date: str, **changes: object) -> CoursePoint:
    """Return an examination with a length."""
    return CoursePoint(study_instance_uid=f"1.{date or 0}", date=date, length_mm=Decimal(50), **changes)  # type: ignore[arg-type]


def table(*points: CoursePoint, item: str = "sz.long_axis") -> CourseTable:
    """Return a course of points as a table."""
    (found,) = course_tables((Course(subject="LMS-T1", item=item, points=points),), PRODUCED.report, ENGLISH)
    return found


def test_no_change_has_no_sign_and_what_rounds_to_it_neither() -> None:
    found = table(point("20260101", pct_baseline=Decimal("0.0")), point("20260201", pct_baseline=Decimal("-0.04")))
    assert [r.cells[1] for r in found.rows] == ["0.0", "0.0"]


def test_a_node_is_told_by_its_short_axis() -> None:
    assert table(point("20260101"), item="sz.short_axis").columns == ("Short axis",)


def test_an_examination_without_a_date_says_so() -> None:
    assert [r.date for r in table(point(""), point("", here=True)).rows] == ["an unknown date", "this examination"]


def test_a_long_course_says_how_many_examinations_are_left_out() -> None:
    found = table(*(point(f"2024{n:02d}01") for n in range(1, 13)), *(point(f"2025{n:02d}01") for n in range(1, 4)))
    assert (len(found.rows), found.left_out) == (12, 3)
    assert (found.rows[0].date, found.rows[1].date, found.rows[-1].date) == ("2024-01-01", "2024-05-01", "2025-03-01")
    page_of = replace(p.content(), courses=(found,))
    assert "… 3 more examinations …" in web_page(page_of)
    assert page(page_of) != page(replace(page_of, courses=(replace(found, left_out=0),)))


def test_the_tables_in_german() -> None:
    produced, prior = over_time.last(language="de")
    _, first, _ = shown(produced, prior=prior).courses
    assert first.title == "Verlauf: LMS-T1"
    assert first.columns[:3] == ("Lange Achse", "seit Baseline", "seit Nadir")
    assert (first.rows[-1].date, first.rows[-1].cells[1], first.rows[-1].stands) == (
        "01.03.2026",
        "-25,3",
        "vorgeschlagen",
    )
    html = web_page(shown(produced, prior=prior))
    for english in ("this examination", "Examination", "from baseline", "Doubling", "partly proposed"):
        assert english not in html, english


def test_both_layouts_have_the_tables() -> None:
    html = web_page(shown())
    assert html.count('<div class="course">') == 3
    assert "<small>(this examination)</small>" in html
    assert '<td class="number">+11.2</td>' in html
    assert page(shown()) != page(replace(shown(), courses=()))


def test_a_page_of_one_stays_one_with_the_course_of_the_tumour() -> None:
    course = shown().courses[1]
    assert page_count(page(replace(p.content(), courses=(course,)))) == 1


# --- the picture -------------------------------------------------------------------------------------------------------

GROUND, LINE = (0, 0, 0), (255, 200, 60)
TWO = plots(p.HISTORY, "Sum of target lesions")


def discs(proposed: bool) -> np.ndarray:
    """Return the picture of one plot whose points are all proposed, or none."""
    marks = tuple(replace(m, proposed=proposed) for m in TWO[0].marks)
    return course_picture((replace(TWO[0], marks=marks),), ())


def test_the_picture_is_drawn_and_the_same_twice() -> None:
    pixels = course_picture(TWO, ("Not for measurement",))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (400 * 2 + 30 + 32, WIDTH, 3)
    assert np.array_equal(pixels, course_picture(TWO, ("Not for measurement",)))
    assert (pixels == LINE).all(axis=2).any()


def test_points_that_nobody_confirmed_are_hollow() -> None:
    full, hollow = ((discs(proposed) == LINE).all(axis=2).sum() for proposed in (False, True))
    # three discs of radius 9 lose their middle of radius 6
    assert full - hollow == pytest.approx(3 * np.pi * 6**2, rel=0.15)


def test_a_long_note_is_wrapped_and_not_cut() -> None:
    note = wording("de").language.phrases[Captions().hollow]
    assert course_picture(TWO, (note,)).shape[0] == course_picture(TWO, ("a", "b")).shape[0]
    # nothing is drawn into the edge
    assert not course_picture(TWO, (note,))[-90:, -20:].any()


def test_there_is_no_picture_of_nothing() -> None:
    with pytest.raises(ValueError, match="no plot"):
        course_picture((), ())
