"""``parse(encode(report)) == report`` for reports of every answer that the template allows."""

from __future__ import annotations

import io
from decimal import Decimal

import pydicom
from hypothesis import given, settings
from hypothesis import strategies as st

from service.model.measurement import Reference
from service.model.report import (
    Answer,
    Date,
    PersonName,
    Provenance,
    Quantity,
    Report,
    Scope,
    Status,
    Subject,
    Uid,
    Value,
)
from service.model.report_json import content_hash, from_json, to_json
from service.sr import gate
from service.sr.document import Envelope, document, to_bytes
from service.sr.encode import Presentation, encode
from service.sr.parse import parse
from sr_templates import Item, ItemType, load_codes, load_template
from tests import builders as b

TEMPLATE = load_template("baseline")
CODES = load_codes()
#: rows whose origin goes without saying, so that it is not written
IDENTITY = {"tid.tracking_id", "tid.tracking_uid", "tid.device_name", "tid.device_uid", "tid.procedure_reported"}
#: text as headers and people write it: no control characters, nothing that a text value would lose at its ends
texts = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp", "Cn"), include_characters=" \n"),
    min_size=1,
    max_size=40,
).filter(lambda t: t.strip() == t)
uids = st.integers(1, 2**100).map(lambda n: f"2.25.{n}")


def values(item: Item) -> st.SearchStrategy[Value]:
    """Return values that the item accepts."""
    match item.type:
        case ItemType.CODE | ItemType.CODES:
            return st.sampled_from([*item.values, CODES["v.not_evaluated"]])
        case ItemType.NUMBER:
            places = item.decimals
            low, high = int(item.low or 0), int(item.high or 1000)
            return st.integers(low * 10**places, high * 10**places).map(
                lambda n: Quantity(number=Decimal(n).scaleb(-places), unit=item.unit)  # type: ignore[arg-type]
            )
        case ItemType.TEXT:
            return texts
        case ItemType.DATE:
            return st.dates().map(lambda d: Date(d.strftime("%Y%m%d").zfill(8)))
        case ItemType.UID:
            return uids.map(Uid)
        case ItemType.PERSON:
            return st.sampled_from(["Reader^One", "山田^太郎", "Иванова^Анна"]).map(PersonName)


@st.composite
def graphics(draw: st.DrawFn) -> Reference:
    """Return a line on an image of the study."""
    ends = draw(st.lists(st.tuples(st.integers(0, 51200), st.integers(0, 51200)), min_size=2, max_size=2))
    return b.line(*((x / 100, y / 100) for x, y in ends), image=draw(st.integers(1, 20)))


@st.composite
def answers(draw: st.DrawFn, item: Item, subject: str) -> Answer:
    """Return one answer to ``item``."""
    several = item.type is ItemType.CODES
    given_values = draw(st.lists(values(item), min_size=1, max_size=3 if several else 1, unique=True))
    if item.key == "tid.person_observer_name":
        # the reader's name comes from the login, never from a machine
        return Answer(
            item=item.key, values=tuple(given_values), status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST
        )
    if item.key in IDENTITY:
        origin = Provenance.DICOM if item.key == "tid.procedure_reported" else Provenance.RULE
        return Answer(
            item=item.key, subject=subject, values=tuple(given_values), status=Status.AUTOMATIC, provenance=origin
        )
    number = item.type is ItemType.NUMBER
    inferable = (
        item.type in {ItemType.NUMBER, ItemType.CODE, ItemType.CODES, ItemType.TEXT} and item.scope is not Scope.SERIES
    )
    return Answer(
        item=item.key,
        subject=subject,
        values=tuple(given_values),
        status=draw(st.sampled_from(Status)),
        provenance=draw(st.sampled_from(Provenance)),
        basis=draw(st.one_of(st.just(""), texts)),
        derivation=draw(st.one_of(st.none(), st.just(CODES["deriv.mean"]))) if number else None,
        method=draw(st.one_of(st.none(), st.just(CODES["sz.method_voxel"]))) if number else None,
        evidence=tuple(draw(st.lists(graphics(), max_size=2))) if inferable else (),
    )


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Return a report of the baseline template with any answers, in canonical order."""
    lesions = [
        Subject(
            key=f"LMS-T{n}",
            scope=Scope.LESION,
            tracking_id=draw(texts),
            tracking_uid=draw(uids),
            segment=draw(st.one_of(st.none(), st.just(b.tumour(n).source))),
            remarks=tuple(draw(st.lists(texts, max_size=2))),
        )
        for n in range(1, draw(st.integers(0, 3)) + 1)
    ]
    series = [Subject(key="Series 2", scope=Scope.SERIES, tracking_id=draw(texts), tracking_uid=b.series_uid(2))]
    subjects = [*series, *lesions]
    found: list[Answer] = []
    for item in TEMPLATE:
        about = [""] if item.scope is Scope.REPORT else [s.key for s in subjects if s.scope is item.scope]
        for subject in about:
            answer = _forced(item, subjects, subject)
            if answer is None and draw(st.integers(0, 3)) == 0:
                answer = draw(answers(item, subject))
            if answer is not None:
                found.append(answer)
    return Report(
        template=TEMPLATE.key,
        template_version=TEMPLATE.version,
        study_instance_uid=b.STUDY_UID,
        modalities=("CT",),
        subjects=tuple(subjects),
        answers=tuple(found),
        remarks=tuple(draw(st.lists(texts, max_size=2))),
    )


def _forced(item: Item, subjects: list[Subject], subject: str) -> Answer | None:
    """Return the answers that every report has."""
    about = next((s for s in subjects if s.key == subject), None)
    forced: dict[str, tuple[Value, Provenance]] = {
        "tid.device_name": ("LMS-SR 0", Provenance.RULE),
        "tid.device_uid": (Uid("2.25.5"), Provenance.RULE),
        "tid.procedure_reported": (CODES["proc.ct_report"], Provenance.DICOM),
        "tid.modality": (CODES["mod.ct"], Provenance.DICOM),
    }
    if about is not None and about.scope is Scope.LESION:
        forced["tid.tracking_id"] = (about.tracking_id, Provenance.RULE)
        forced["tid.tracking_uid"] = (Uid(about.tracking_uid), Provenance.RULE)
    if item.key not in forced:
        return None
    value, provenance = forced[item.key]
    return Answer(item=item.key, subject=subject, values=(value,), status=Status.AUTOMATIC, provenance=provenance)


def written(report: Report) -> pydicom.Dataset:
    """Return the report as an SR that has been through a file."""
    envelope = Envelope(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
        sop_instance_uid="2.25.1",
        series_instance_uid="2.25.2",
        series_number=1,
        series_description="LMS report",
        version=1,
        created_at=b.CREATED_AT,
    )
    root = encode(report, TEMPLATE, Presentation())
    return pydicom.dcmread(io.BytesIO(to_bytes(document(root, b.study(), envelope), b.study(), envelope)))


@settings(max_examples=60)
@given(reports())
def test_a_report_reads_back_as_itself(report):
    ds = written(report)
    assert parse(ds, TEMPLATE) == report
    assert [p for p in gate.document_problems(ds) if "evidence" not in p] == []


@settings(max_examples=60)
@given(reports())
def test_a_report_survives_json(report):
    assert from_json(to_json(report)) == report
    assert content_hash(from_json(to_json(report))) == content_hash(report)
