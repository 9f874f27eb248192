"""The page as PDF: archivable, the same bytes for the same content, never more than `MOST_PAGES`, and no text that breaks it."""

from __future__ import annotations

import datetime as dt
import re
import time
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.page.content import Paragraph, Table
from service.page.pdf import MOST_PAGES, page, page_count
from tests import pages as p


def test_it_says_that_it_is_pdf_a() -> None:
    pdf = page(p.content())
    assert pdf.startswith(b"%PDF-1.7")
    assert b"<pdfaid:part>2</pdfaid:part><pdfaid:conformance>A</pdfaid:conformance>" in pdf


def test_same_content_same_bytes() -> None:
    assert page(p.content()) == page(p.content())


def test_its_dates_are_the_contents_and_not_the_clocks() -> None:
    offset = dt.timezone(dt.timedelta(hours=1))
    pdf = page(p.content(created_at=dt.datetime(2026, 3, 1, 11, 20, tzinfo=offset)))
    dates = set(re.findall(rb"<xmp:(?:Create|Modify)Date>([^<]+)<", pdf))
    assert dates == {b"2026-03-01T10:20:00+00:00"}


def test_the_patient_is_not_in_its_metadata() -> None:
    # file managers and search engines show those; the name is on the page
    metadata = page(p.content()).partition(b"<x:xmpmeta")[2]
    assert metadata
    assert b"ller" not in metadata


def test_an_ordinary_report_is_one_page() -> None:
    assert page_count(page(p.content())) == 1


def test_no_report_has_more_than_three_pages() -> None:
    content = p.content()
    big = Table(title="T" * 3000, rows=content.lesions[0].rows * 80, remarks=("r " * 3000,) * 80)
    huge = replace(
        content,
        patient="W" * 5000,
        status="S" * 5000,
        impression=(Paragraph(label="L" * 3000, text="word " * 50_000, whence="w" * 3000),) * 60,
        lesions=(big,) * 60,
        sections=(big,) * 60,
        matrices=content.matrices * 60,
        evidence=tuple(replace(e, favours=("f" * 2000,) * 60) for e in content.evidence * 60),
        open_items=("an item " * 100,) * 300,
        remarks=("a remark " * 500,) * 60,
        pictures=content.pictures * 9,
    )
    began = time.perf_counter()
    assert page_count(page(huge)) <= MOST_PAGES
    assert time.perf_counter() - began < 20


def test_a_page_without_anything_optional() -> None:
    bare = p.content(
        pictures=(), history=(), evidence=(), matrices=(), lesions=(), sections=(), open_items=(), impression=()
    )
    assert page_count(page(bare)) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_pictures(count: int) -> None:
    assert page_count(page(p.content(pictures=p.content().pictures * count))) <= 2


@given(text=st.text(max_size=60))
@example(text=p.HOSTILE)
@example(text="‹U+1208›\u1208\ud800\u202e\x00")
@example(text="山\u0301\u200d\ufe0f\U000e0100홍\u1100\u1161")
@example(text="\u0600\u0bcd\u0f71\u1f3f\ufdfa")
@settings(max_examples=60)
def test_no_text_breaks_it(text: str) -> None:
    content = p.content(pictures=(), evidence=(), history=())
    row = replace(content.lesions[0].rows[0], item=text, value=text, basis=text)
    pdf = page(
        replace(
            content,
            patient=text,
            impression=(Paragraph(label=text, text=text),),
            lesions=(Table(title=text, rows=(row,)),),
            remarks=(text,),
        )
    )
    assert page_count(pdf) >= 1


def test_bytes_that_are_no_page_of_ours() -> None:
    with pytest.raises(ValueError, match="does not say"):
        page_count(b"%PDF-1.7")
