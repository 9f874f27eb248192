"""The templates and their codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.sr._concepts_dict import concepts

from service.errors import TemplateError
from sr_templates import load_codes, load_template, template_names
from sr_templates.documentation import markdown

DATA = Path(__file__).parent.parent / "data"
PACKAGE = Path(__file__).parent.parent.parent / "sr_templates"


def test_every_public_code_that_pydicom_knows_means_what_we_say():
    differing = []
    for row in load_codes():
        known = {
            value: meaning[0]
            for entries in concepts.get(row.code.scheme, {}).values()
            for value, meaning in entries.items()
        }
        if row.code.value in known and row.code.scheme in {"DCM", "UCUM"}:
            ours, theirs = row.code.meaning.casefold(), known[row.code.value].casefold()
            if ours != theirs and ours not in theirs and theirs not in ours:
                differing.append((row.key, row.code.meaning, known[row.code.value]))
    assert differing == []


def test_codes_fit_their_value_representations():
    for row in load_codes():
        assert 0 < len(row.code.value) <= 16, row.key
        assert 0 < len(row.code.scheme) <= 16, row.key
        assert 0 < len(row.code.meaning) <= 64, row.key
        assert row.status in {"verified", "private", "unverified"}, row.key
        assert (row.status == "private") == (row.code.scheme == "99LMSSR"), row.key


def test_private_codes_are_unambiguous():
    values = [r.code.value for r in load_codes() if r.status == "private"]
    assert len(values) == len(set(values))


def test_an_unverified_code_is_refused():
    with pytest.raises(TemplateError, match="not verified"):
        load_codes()["gr.r1"]


def test_the_clinical_page_is_generated_from_the_template():
    page = (PACKAGE.parent / "docs" / "clinical.md").read_text(encoding="utf-8")
    assert page == markdown([load_template(name) for name in template_names()]), (
        "run: lms-sr template docs > docs/clinical.md"
    )
