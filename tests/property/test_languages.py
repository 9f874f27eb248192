"""A report reads back as itself whatever language it is written in, and its prose says nothing that breaks it."""

from __future__ import annotations

import io
from dataclasses import replace

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.model.report import Scope
from service.sr import gate, words
from service.sr.document import Envelope, document, to_bytes
from service.sr.encode import Presentation, encode
from service.sr.parse import parse
from service.sr.phrases import ENGLISH, Phrase, wording
from sr_templates.language.labels import language_names
from tests import builders as b
from tests.property.test_round_trip import STUDY, reports, texts

GERMAN = wording("de")
ENVELOPE = Envelope(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
    sop_instance_uid="2.25.1",
    series_instance_uid="2.25.2",
    series_number=1,
    series_description="LMS report",
    version=1,
    created_at=b.CREATED_AT,
)
#: what the software notes, and text of people that looks like it, in either language
notes = st.one_of(
    texts,
    st.sampled_from(sorted(GERMAN.language.notes)),
    st.sampled_from(sorted(GERMAN.language.notes.values())),
    st.sampled_from(sorted(str(p) for p in Phrase)),
    st.sampled_from(sorted(GERMAN.language.phrases.values())),
).filter(lambda t: t.strip() == t)


@pytest.mark.parametrize("code", [c for c in language_names() if c != "en"])
@settings(max_examples=60)
@given(made=reports(), remarks=st.lists(notes, max_size=3), line=notes)
def test_a_report_reads_back_as_itself_in_every_language(code, made, remarks, line):
    report, template = made
    subjects = tuple(replace(s, tracking_id=line) if s.scope is Scope.SERIES else s for s in report.subjects)
    report = replace(report, subjects=subjects, remarks=tuple(remarks))
    root = encode(report, template, Presentation(language=wording(code).language))
    ds = pydicom.dcmread(io.BytesIO(to_bytes(document(root, STUDY, ENVELOPE), STUDY, ENVELOPE)))
    assert parse(ds, template) == report
    assert [p for p in gate.document_problems(ds) if "evidence" not in p] == []
    assert "de-DE" in {
        str(c.ConceptCodeSequence[0].CodeValue) for c in ds.ContentSequence if "ConceptCodeSequence" in c
    }


@settings(max_examples=200)
@given(text=st.text(max_size=600))
def test_any_text_can_be_taken_for_a_note(text):
    assert ENGLISH.note(text) == text
    assert GERMAN.note(text) or not text


@given(made=reports())
@settings(max_examples=30)
def test_every_value_can_be_said(made):
    report, _ = made
    for answer in report.answers:
        for value in answer.values:
            assert words.value(value, GERMAN) or not words.value(value)
