"""``parse(encode(report)) == report`` for reports of every answer that the template allows."""

from __future__ import annotations

import io
from decimal import Decimal

import pydicom
from hypothesis import given, settings
from hypothesis import strategies as st

from service.model.age import age_at
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
from service.sr.parse import parse, template_of
from sr_templates import Item, ItemType, Template, load_codes, load_template, template_names
from sr_templates.language.loader import structure_label
from sr_templates.language.values import Fill, Matrix
from sr_templates.order import canonical
from tests import builders as b

TEMPLATES = [load_template(name) for name in template_names()]
CODES = load_codes()
#: has everything that `reports` refer to
STUDY = b.study(b.ct_series(), b.segmentation_series(), b.structure_set_series())
#: rows whose origin goes without saying, so that it is not written
IDENTITY = {"tid.tracking_id", "tid.tracking_uid", "tid.device_name", "tid.device_uid", "tid.procedure_reported"}
#: text as headers and people write it: no control characters, nothing that a text value would lose at its ends
texts = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp", "Cn"), include_characters=" \n"),
    min_size=1,
    max_size=40,
).filter(lambda t: t.strip() == t)
people = st.sampled_from(["", "Reader^One", "山田^太郎", "Иванова^Анна"])
#: items that share their concept with another of their scope, and are told apart by their values
SHARED = {"tid.method#staging", "tid.method#grading"}
uids = st.integers(1, 2**100).map(lambda n: f"2.25.{n}")


def values(item: Item) -> st.SearchStrategy[Value]:
    """Return values that the item accepts."""
    match item.type:
        case ItemType.CODE | ItemType.CODES:
            return st.sampled_from([*item.values, *([] if item.key in SHARED else [CODES["v.not_evaluated"]])])
        case ItemType.NUMBER if item.unit is not None:
            places = item.decimals
            low, high = int(item.low or 0), int(item.high or 1000)
            unit = item.unit
            return st.one_of(
                st.integers(low * 10**places, high * 10**places).map(
                    lambda n: Quantity(number=Decimal(n).scaleb(-places), unit=unit)
                ),
                st.just(Quantity(number=None, unit=unit, qualifier=CODES["nq.not_attempted"])),
            )
        case ItemType.TEXT:
            return texts
        case ItemType.DATE:
            return st.dates().map(lambda d: Date(d.strftime("%Y%m%d").zfill(8)))
        case ItemType.UID:
            return uids.map(Uid)
        case ItemType.PERSON:
            return people.filter(bool).map(PersonName)
        case _:
            raise AssertionError(item.key)


@st.composite
def graphics(draw: st.DrawFn) -> Reference:
    """Return a line on an image of the study."""
    ends = draw(st.lists(st.tuples(st.integers(0, 51200), st.integers(0, 51200)), min_size=2, max_size=2))
    return b.line(*((x / 100, y / 100) for x, y in ends), image=draw(st.integers(1, 20)))


@st.composite
def rois(draw: st.DrawFn) -> Reference:
    """Return an ROI of a structure set, with or without a name."""
    return b.roi(draw(st.integers(0, 300)), draw(st.one_of(st.just(""), texts)))


@st.composite
def answers(draw: st.DrawFn, item: Item, subject: str) -> Answer:
    """Return one answer to ``item``."""
    several = item.many
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
    status = draw(st.sampled_from(Status))
    return Answer(
        item=item.key,
        subject=subject,
        values=tuple(given_values),
        status=status,
        provenance=draw(st.sampled_from(Provenance)),
        basis=draw(st.one_of(st.just(""), texts)),
        derivation=draw(st.one_of(st.none(), st.just(CODES["deriv.mean"]))) if number else None,
        method=draw(st.one_of(st.none(), st.just(CODES["sz.method_voxel"]))) if number else None,
        evidence=tuple(draw(st.lists(st.one_of(graphics(), rois()), max_size=2))) if inferable else (),
        reason=draw(st.one_of(st.just(""), texts)),
        observer=draw(people) if status is Status.CONFIRMED else "",
    )


@st.composite
def structures(draw: st.DrawFn, template: Template, matrix: Matrix) -> list[Subject]:
    """Return subjects of a matrix: listed rows, and others that its item allows."""
    item = template.item(matrix.item)
    assert item is not None
    if matrix.scope is Scope.NODE:
        return [
            Subject(
                key=draw(st.sampled_from([f"LMS-LN{n}", f"LMS-LN{n + 10}"])),
                scope=matrix.scope,
                tracking_id=draw(texts),
                tracking_uid=draw(uids),
                structure=draw(st.sampled_from(item.values)),
                side=draw(st.sampled_from([None, CODES["v.left"]])),
            )
            for n in range(1, draw(st.integers(0, 2)) + 1)
        ]
    listed = {r.key: (r.structure, r.side) for r in matrix.rows}
    others = {k: (v, None) for k, v in zip(item.value_keys, item.values, strict=True) if k not in listed}
    chosen = draw(st.lists(st.sampled_from(sorted(listed | others)), max_size=4, unique=True))
    found = []
    for key in chosen:
        structure, side = (listed | others)[key]
        candidate = matrix.scope is Scope.CANDIDATE
        found.append(
            Subject(
                key=key,
                scope=matrix.scope,
                tracking_id=structure_label(structure, "") if candidate else draw(texts),
                tracking_uid="" if candidate else draw(uids),
                structure=structure,
                side=side,
                remarks=() if candidate else tuple(draw(st.lists(texts, max_size=1))),
            )
        )
    return found


@st.composite
def reports(draw: st.DrawFn) -> tuple[Report, Template]:
    """Return a report with any answers, in canonical order, and its template."""
    template = draw(st.sampled_from(TEMPLATES))
    lesions = [
        Subject(
            key=draw(st.sampled_from([f"LMS-T{n}", f"LMS-M{n}"])),
            scope=Scope.LESION,
            tracking_id=draw(texts),
            tracking_uid=draw(uids),
            segment=draw(st.one_of(st.none(), st.just(b.tumour(n).source), rois())),
            remarks=tuple(draw(st.lists(texts, max_size=2))),
        )
        for n in range(1, draw(st.integers(0, 3)) + 1)
    ]
    series = [Subject(key="Series 2", scope=Scope.SERIES, tracking_id=draw(texts), tracking_uid=b.series_uid(2))]
    subjects = [*series, *lesions, *(s for m in template.matrices for s in draw(structures(template, m)))]
    found: list[Answer] = []
    # a few dozen of the 250 items in each example: flipping a coin for each of them takes most of the time
    chosen = set(draw(st.lists(st.sampled_from([i.key for i in template]), max_size=30, unique=True)))
    if draw(st.booleans()):
        # who reports as a whole is inherited by everything below
        chosen.add("tid.person_observer_name")
    for item in template:
        about = [""] if item.scope is Scope.REPORT else [s.key for s in subjects if s.scope is item.scope]
        for subject in about if item.fill is not Fill.ROW else []:
            answer = _forced(item, subjects, subject)
            if answer is None and item.key in chosen:
                answer = draw(answers(item, subject))
            if answer is not None:
                found.append(answer)
    patient = b.study().patient
    report = Report(
        template=template.key,
        template_version=template.version,
        study_instance_uid=b.STUDY_UID,
        modalities=("CT",),
        patient_sex=patient.sex,
        patient_age=age_at(patient.birth_date, b.study().date),
        subjects=tuple(subjects),
        answers=tuple(found),
        remarks=tuple(draw(st.lists(texts, max_size=2))),
    )
    return canonical(report, template), template


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


def written(report: Report, template: Template) -> pydicom.Dataset:
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
    root = encode(report, template, Presentation())
    return pydicom.dcmread(io.BytesIO(to_bytes(document(root, STUDY, envelope), STUDY, envelope)))


@settings(max_examples=60)
@given(reports())
def test_a_report_reads_back_as_itself(made):
    report, template = made
    ds = written(report, template)
    assert parse(ds, template) == report
    assert template_of(ds) == template.key
    assert [p for p in gate.document_problems(ds) if "evidence" not in p] == []


@settings(max_examples=40)
@given(reports())
def test_a_report_survives_json(made):
    report, _ = made
    assert from_json(to_json(report)) == report
    assert content_hash(from_json(to_json(report))) == content_hash(report)
