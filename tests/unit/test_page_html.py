"""The page as HTML: stands by itself, runs nothing, escapes everything, and says what the PDF says in the same order."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from service.page.content import Paragraph
from service.page.hypertext import web_page
from tests import pages as p


class Seen(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


def test_nothing_is_loaded_and_nothing_runs() -> None:
    seen = Seen(web_page(p.content()))
    assert not {"script", "link", "iframe", "object", "form", "base"} & set(seen.elements)
    sources = [value for _, name, value in seen.attributes if name in {"src", "href", "srcset", "action", "data"}]
    assert sources
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    assert not [name for _, name, _ in seen.attributes if name.startswith("on") or name == "style"]


def test_the_policy_allows_this_style_and_no_other() -> None:
    page = web_page(p.content())
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(v for t, n, v in Seen(page).attributes if (t, n) == ("meta", "content") and "default-src" in v)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "url(" not in style[1]
    assert "@media print" in style[1]


def test_text_stays_text() -> None:
    hostile = p.HOSTILE + "\"' onload=x"
    seen = Seen(
        web_page(p.content(patient=hostile, impression=(Paragraph(label=hostile, text=hostile),), remarks=(hostile,)))
    )
    assert "script" not in seen.elements
    assert seen.said.count("<script>alert(1)</script> &amp;") == 4


@pytest.mark.parametrize("field", ["title", "status", "banner", "version", "sop_instance_uid", "made_by"])
def test_every_field_is_escaped(field: str) -> None:
    assert "<i>" not in web_page(p.content(**{field: "<i>x</i>"}))


def test_it_says_what_the_report_says_in_the_order_of_the_page() -> None:
    said = Seen(web_page(p.content())).said
    expected = [
        "Oncology Measurement Report",
        "Müller, Jörg",
        "DRAFT, NOT VERIFIED",
        "P-1 (HOSPITAL)",
        "Summary (automatic, not verified)",
        "Series 2, image 14",
        "Long axis, mm",
        "LMS-T1",
        "100.0",
        "inferior vena cava",
        "Features that favour",
        "Report",
        "mass, ?sarcoma",
        "proposed from the header, not confirmed",
        "Open items",
        "Growth pattern · Necrosis",
        "Report version 2",
        "SOP Instance UID 2.25.7",
    ]
    places = []
    for text in expected:
        places.append(said.index(text, places[-1] if places else 0))
    assert places == sorted(places)


def test_a_signed_page_has_no_banner() -> None:
    assert "NOT VERIFIED" not in Seen(web_page(p.content(banner="", impression=()))).said


def test_a_long_text_is_cut() -> None:
    assert "characters more in the report" in web_page(p.content(remarks=("x" * 30_000,)))
