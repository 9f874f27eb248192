"""A report as a FHIR R4 QuestionnaireResponse, and back: the answers with where each came from.

A response names its subject by identifier only. What FHIR has no place for (status and provenance of an answer, evidence, the tracking
UIDs of a lesion) stands in extensions of our own, whose URLs are OIDs derived from what they are. An answer without a value that its
question could hold (Not Evaluated to a number, a number that could not be measured) has the value's type, no value, and a Data Absent
Reason, so that a reader who does not know our extensions never takes it for a number.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from service.export.codings import OID
from service.export.enabling import DATA_ABSENT
from service.export.fhir import Json, canonical_url, coding, is_coded, number, to_text
from service.export.outline import Kind, Part, every, outline
from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import Answer, CompletionFlag, Date, PersonName, Quantity, Report, Subject, Uid, Value
from service.model.uids import derived_uid
from sr_templates import Item, ItemType, Template

#: our extensions: of the response, of a subject's group, and of an answer
REPORT, SUBJECT, ANSWER = (OID + derived_uid("fhir-extension", part) for part in ("report", "subject", "answer"))
#: answers that no question of the form holds: to items of earlier versions, or about structures that the report does not list
ELSEWHERE = "elsewhere"
#: what kind of text answers a type of question
TEXTS: Mapping[ItemType, str] = MappingProxyType(
    {ItemType.TEXT: "text", ItemType.UID: "uid", ItemType.PERSON: "person"}
)
_DAY = len("YYYYMMDD")


class ResponseStatus(enum.StrEnum):
    """QuestionnaireResponse.status, as far as our reports have it."""

    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    AMENDED = "amended"


def status_of(completion: CompletionFlag, *, replaces: bool) -> ResponseStatus:
    """Return the status of a report that is ``completion``; ``replaces``: a completed version went before."""
    if completion is CompletionFlag.PARTIAL:
        return ResponseStatus.IN_PROGRESS
    return ResponseStatus.AMENDED if replaces else ResponseStatus.COMPLETED


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What a response says beside the answers."""

    status: ResponseStatus
    #: when the answers were gathered; aware
    authored: dt.datetime
    #: Patient ID (0010,0020) and its issuer; empty: the response names no subject
    patient_id: str = ""
    issuer: str = ""


def response(report: Report, template: Template, occasion: Occasion) -> str:
    """Return ``report`` as a QuestionnaireResponse in JSON; the same report and occasion give the same text."""
    writer = _Writer(report, template)
    content: Json = {
        "resourceType": "QuestionnaireResponse",
        "language": "en",
        "extension": [_extension(REPORT, *_of_report(report))],
        "questionnaire": f"{canonical_url(report.template)}|{report.template_version}",
        "status": occasion.status.value,
        "authored": occasion.authored.isoformat(timespec="seconds"),
    }
    if occasion.patient_id:
        identifier: Json = {"value": occasion.patient_id}
        if occasion.issuer:
            identifier["assigner"] = {"display": occasion.issuer}
        content["subject"] = {"type": "Patient", "identifier": identifier}
    if items := writer.items():
        content["item"] = items
    return to_text(content)


# --- our extensions ------------------------------------------------------------------------------------------------------


def _extension(url: str, *parts: Json) -> Json:
    return {"url": url, "extension": list(parts)}


def _texts(**parts: str) -> Iterator[Json]:
    """Yield the parts that say something."""
    for name, text in parts.items():
        if text:
            yield {"url": name.replace("_", "-"), "valueString": text}


def _of_report(report: Report) -> Iterator[Json]:
    yield {"url": "study", "valueUri": f"{OID}{report.study_instance_uid}"}
    yield from _texts(template=report.template, template_version=report.template_version)
    yield from ({"url": "modality", "valueCode": m} for m in report.modalities)
    yield from _texts(sex=report.patient_sex)
    if report.patient_age is not None:
        yield {"url": "age", "valueInteger": report.patient_age}
    yield from ({"url": "remark", "valueString": r} for r in report.remarks)


def _of_subject(subject: Subject) -> Iterator[Json]:
    yield from _texts(key=subject.key, scope=subject.scope.value, tracking_id=subject.tracking_id)
    if subject.tracking_uid:
        yield {"url": "tracking-uid", "valueUri": f"{OID}{subject.tracking_uid}"}
    if subject.structure is not None:
        yield {"url": "structure", "valueCoding": coding(subject.structure)}
    if subject.side is not None:
        yield {"url": "side", "valueCoding": coding(subject.side)}
    if subject.segment is not None:
        yield _reference("segment", subject.segment)
    yield from ({"url": "remark", "valueString": r} for r in subject.remarks)


def _of_answer(answer: Answer) -> Iterator[Json]:
    yield {"url": "status", "valueCode": answer.status.value}
    yield {"url": "provenance", "valueCode": answer.provenance.value}
    yield from _texts(basis=answer.basis)
    if answer.derivation is not None:
        yield {"url": "derivation", "valueCoding": coding(answer.derivation)}
    if answer.method is not None:
        yield {"url": "method", "valueCoding": coding(answer.method)}
    yield from (_reference("evidence", e) for e in answer.evidence)
    yield from _texts(reason=answer.reason, observer=answer.observer)


def _reference(name: str, reference: Reference) -> Json:
    """Return a pointer into an object; points are "column row" pairs in image coordinates (PS3.3 C.18.6.1.1), one after the other."""
    parts: list[Json] = [
        {"url": name, "valueUri": f"{OID}{uid}"}
        for name, uid in (
            ("class", reference.sop_class_uid),
            ("instance", reference.sop_instance_uid),
            ("series", reference.series_instance_uid),
        )
        if uid
    ]
    parts += [{"url": "frame", "valueInteger": f} for f in reference.frames]
    if reference.segment is not None:
        parts.append({"url": "number", "valueInteger": reference.segment})
    if reference.roi is not None:
        parts.append({"url": "roi", "valueInteger": reference.roi})
    parts += _texts(roi_name=reference.roi_name)
    if reference.points:
        parts.append({"url": "points", "valueString": ", ".join(f"{x!r} {y!r}" for x, y in reference.points)})
    return _extension(name, *parts)


# --- items ---------------------------------------------------------------------------------------------------------------


class _Writer:
    """Writes the answers of one report along the outline of its template."""

    def __init__(self, report: Report, template: Template) -> None:
        self._report = report
        self._parts = outline(template)
        self._items = {i.key: i for i in (*template, *template.retired)}
        self._written: set[tuple[str, str]] = set()
        self._rows = {p.row.key for p in every(self._parts) if p.kind is Kind.ROW and p.row is not None}

    def items(self) -> list[Json]:
        """Return the sections that have answers, then what no question of the form holds."""
        found = [i for p in self._parts for i in self._part(p)]
        rest = [a for a in self._report.answers if (a.item, a.subject) not in self._written]
        if rest:
            items = [
                {
                    "linkId": key,
                    "text": self._label(key),
                    "answer": [e for a in rest if a.item == key for e in self._entries(a, loose=True)],
                }
                for key in dict.fromkeys(a.item for a in rest)
            ]
            found.append({"linkId": ELSEWHERE, "text": "Answers that this form does not ask for", "item": items})
        return found

    def _label(self, key: str) -> str:
        return self._items[key].label if key in self._items else key

    def _part(self, part: Part) -> Iterator[Json]:
        match part.kind:
            case Kind.SECTION | Kind.MATRIX:
                yield from _group(part, [i for p in part.parts for i in self._part(p)])
            case Kind.ROW:
                subject = self._report.subject(part.row.key) if part.row else None
                if subject is not None and subject.scope is part.scope:
                    yield from self._subject(part, subject)
            case Kind.REPEATED:
                for subject in self._report.subjects_of(part.scope):
                    if subject.key not in self._rows:
                        yield from self._subject(part, subject)
            case _:
                yield from self._question(part, None)

    def _subject(self, part: Part, subject: Subject) -> Iterator[Json]:
        items = [i for p in part.parts for i in self._question(p, subject)]
        yield {
            "extension": [_extension(SUBJECT, *_of_subject(subject))],
            "linkId": part.key,
            "text": part.text,
            **({"item": items} if items else {}),
        }

    def _question(self, part: Part, subject: Subject | None) -> Iterator[Json]:
        entries: list[Json] = []
        if part.kind in {Kind.STRUCTURE, Kind.SIDE}:
            code = subject and (subject.structure if part.kind is Kind.STRUCTURE else subject.side)
            entries = [{"valueCoding": coding(code)}] if code else []
        elif part.item is not None:
            about = subject.key if subject else ""
            self._written.add((part.item.key, about))
            entries = [e for a in self._report.answers_of(part.item.key, about) for e in self._entries(a)]
        if entries:
            yield {"linkId": part.key, "text": part.text, "answer": entries}

    def _entries(self, answer: Answer, *, loose: bool = False) -> Iterator[Json]:
        item = self._items.get(answer.item)
        for value in answer.values:
            typed, aside = _value(value, item)
            about = _texts(about=answer.subject) if loose else ()
            yield {"extension": [_extension(ANSWER, *_of_answer(answer), *about, *aside)], **typed}


def _group(part: Part, items: list[Json]) -> Iterator[Json]:
    if items:
        yield {"linkId": part.key, "text": part.text, "item": items}


# --- values --------------------------------------------------------------------------------------------------------------


def _value(value: Value, item: Item | None) -> tuple[Json, list[Json]]:
    """Return a value as FHIR types it, and what of it stands in our extension."""
    match value:
        case Code() if item is None or is_coded(item):
            return {"valueCoding": coding(value)}, []
        case Code():
            return _absent(_field(item), "not-performed"), [{"url": "coded", "valueCoding": coding(value)}]
        case Quantity():
            return _quantity(value, item)
        case Date():
            return _date(value)
        case _:
            return _text(value, item)


def _quantity(value: Quantity, item: Item | None) -> tuple[Json, list[Json]]:
    unit = [] if item is not None and value.unit == item.unit else [{"url": "unit", "valueCoding": coding(value.unit)}]
    qualifier = [{"url": "qualifier", "valueCoding": coding(value.qualifier)}] if value.qualifier else []
    if value.number is None:
        return _absent("valueDecimal", "unknown"), [*unit, *qualifier]
    return {"valueDecimal": number(value.number)}, [*unit, *qualifier, *_exact(value.number)]


def _exact(value: Decimal) -> list[Json]:
    """Say a number in digits where JSON's numbers would lose some."""
    exact = Decimal(repr(number(value))) == value
    return [] if exact else [{"url": "digits", "valueString": str(value)}]


def _date(value: Date) -> tuple[Json, list[Json]]:
    written = value.value
    try:
        day = dt.datetime.strptime(written, "%Y%m%d").replace(tzinfo=dt.UTC).date() if len(written) == _DAY else None
    except ValueError:
        day = None
    if day is None:
        return _absent("valueDate", "error"), [{"url": "kind", "valueCode": "date"}, *_texts(written=written)]
    return {"valueDate": f"{written[:4]}-{written[4:6]}-{written[6:]}"}, []


def _text(value: str | Uid | PersonName, item: Item | None) -> tuple[Json, list[Json]]:
    match value:
        case Uid():
            kind, written = "uid", value.value
        case PersonName():
            kind, written = "person", value.value
        case _:
            kind, written = "text", value
    expected = TEXTS.get(item.type) if item is not None else None
    aside = [] if kind == expected else [{"url": "kind", "valueCode": kind}]
    if not written.strip():
        # FHIR has no empty strings
        return _absent("valueString", "unknown"), [
            *(aside or [{"url": "kind", "valueCode": kind}]),
            *_texts(written=written),
        ]
    return {"valueString": written}, aside


def _field(item: Item | None) -> str:
    match item.type if item else None:
        case ItemType.NUMBER:
            return "valueDecimal"
        case ItemType.DATE:
            return "valueDate"
        case _:
            return "valueString"


def _absent(field: str, why: str) -> Json:
    """Return a value of the type of ``field`` that is none (http://terminology.hl7.org/CodeSystem/data-absent-reason)."""
    return {f"_{field}": {"extension": [{"url": DATA_ABSENT, "valueCode": why}]}}
