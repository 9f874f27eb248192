"""`Report` as JSON and back, exactly, and the hash that says whether two drafts say the same.

Fields that hold their default are left out, so that a field added later does not change the hash of a report that does not use it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from decimal import Decimal
from typing import Any

from service.errors import InputError
from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import (
    Answer,
    Completeness,
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

FORMAT = 1
#: answers that name this software's version: an upgrade alone must not issue every open draft again
_NOT_HASHED = frozenset({"tid.device_name", "tid.device_uid"})


def to_json(report: Report, counted: Completeness | None = None) -> str:
    """Return ``report`` as JSON: the same report gives the same text.

    ``counted``, where it is given, stands beside it for whoever reads the file; `from_json` counts anew and does not read it.
    """
    data: dict[str, Any] = {"format": FORMAT, **_report(report)}
    if counted is not None:
        data["completeness"] = {
            "open": counted.open,
            "proposed": counted.proposed,
            "confirmed": counted.confirmed,
            "applicable": counted.prompts,
            "open_items": list(counted.open_items),
            "proposed_items": list(counted.proposed_items),
        }
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Report:
    """Return the report that `to_json` wrote.

    Raises
    ------
    InputError
        ``text`` is no such JSON.
    """
    try:
        data = json.loads(text)
        if data.get("format") != FORMAT:
            msg = f"a report of format {data.get('format')}, not {FORMAT}: written by another version of this software"
            raise InputError(msg)
        return _read_report(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"no report: {type(error).__name__}"
        raise InputError(msg) from error


def content_hash(report: Report) -> str:
    """Return the SHA-256 (hex) over template, subjects, answers with evidence and provenance, and remarks.

    Never over times or this software's version.
    """
    kept = dataclasses.replace(report, answers=tuple(a for a in report.answers if a.item not in _NOT_HASHED))
    return hashlib.sha256(to_json(kept).encode()).hexdigest()


def _report(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = {
        "template": report.template,
        "template_version": report.template_version,
        "study_instance_uid": report.study_instance_uid,
        "modalities": list(report.modalities),
        "subjects": [_subject(s) for s in report.subjects],
        "answers": [_answer(a) for a in report.answers],
        "remarks": list(report.remarks),
    }
    if report.patient_sex:
        found["patient_sex"] = report.patient_sex
    if report.patient_age is not None:
        found["patient_age"] = report.patient_age
    return found


def _subject(subject: Subject) -> dict[str, Any]:
    found: dict[str, Any] = {"key": subject.key, "scope": subject.scope.value}
    if subject.tracking_id:
        found["tracking_id"] = subject.tracking_id
    if subject.tracking_uid:
        found["tracking_uid"] = subject.tracking_uid
    if subject.structure is not None:
        found["structure"] = _code(subject.structure)
    if subject.side is not None:
        found["side"] = _code(subject.side)
    if subject.segment is not None:
        found["segment"] = _reference(subject.segment)
    if subject.source_series:
        found["source_series"] = subject.source_series
    if subject.remarks:
        found["remarks"] = list(subject.remarks)
    return found


def _answer(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {
        "item": answer.item,
        "values": [_value(v) for v in answer.values],
        "status": answer.status.value,
        "provenance": answer.provenance.value,
    }
    if answer.subject:
        found["subject"] = answer.subject
    if answer.basis:
        found["basis"] = answer.basis
    if answer.derivation is not None:
        found["derivation"] = _code(answer.derivation)
    if answer.method is not None:
        found["method"] = _code(answer.method)
    if answer.evidence:
        found["evidence"] = [_reference(e) for e in answer.evidence]
    if answer.reason:
        found["reason"] = answer.reason
    if answer.observer:
        found["observer"] = answer.observer
    return found


def _code(code: Code) -> list[str]:
    return [code.value, code.scheme, code.meaning]


def _reference(reference: Reference) -> dict[str, Any]:
    found: dict[str, Any] = {
        "class": reference.sop_class_uid,
        "instance": reference.sop_instance_uid,
        "series": reference.series_instance_uid,
    }
    if reference.frames:
        found["frames"] = list(reference.frames)
    if reference.segment is not None:
        found["segment"] = reference.segment
    if reference.roi is not None:
        found["roi"] = reference.roi
    if reference.roi_name:
        found["roi_name"] = reference.roi_name
    if reference.points:
        found["points"] = [list(p) for p in reference.points]
    return found


def _value(value: Value) -> dict[str, Any]:
    match value:
        case Code():
            return {"code": _code(value)}
        case Quantity():
            found: dict[str, Any] = {
                "number": None if value.number is None else str(value.number),
                "unit": _code(value.unit),
            }
            if value.qualifier is not None:
                found["qualifier"] = _code(value.qualifier)
            return found
        case Date():
            return {"date": value.value}
        case Uid():
            return {"uid": value.value}
        case PersonName():
            return {"person": value.value}
        case str():
            return {"text": value}


def _read_report(data: dict[str, Any]) -> Report:
    return Report(
        template=data["template"],
        template_version=data["template_version"],
        study_instance_uid=data["study_instance_uid"],
        modalities=tuple(data["modalities"]),
        patient_sex=data.get("patient_sex", ""),
        patient_age=data.get("patient_age"),
        subjects=tuple(_read_subject(s) for s in data["subjects"]),
        answers=tuple(_read_answer(a) for a in data["answers"]),
        remarks=tuple(data["remarks"]),
    )


def _read_subject(data: dict[str, Any]) -> Subject:
    return Subject(
        key=data["key"],
        scope=Scope(data["scope"]),
        tracking_id=data.get("tracking_id", ""),
        tracking_uid=data.get("tracking_uid", ""),
        structure=Code(*data["structure"]) if "structure" in data else None,
        side=Code(*data["side"]) if "side" in data else None,
        segment=_read_reference(data["segment"]) if "segment" in data else None,
        source_series=data.get("source_series", ""),
        remarks=tuple(data.get("remarks", ())),
    )


def _read_answer(data: dict[str, Any]) -> Answer:
    return Answer(
        item=data["item"],
        values=tuple(_read_value(v) for v in data["values"]),
        status=Status(data["status"]),
        provenance=Provenance(data["provenance"]),
        subject=data.get("subject", ""),
        basis=data.get("basis", ""),
        derivation=Code(*data["derivation"]) if "derivation" in data else None,
        method=Code(*data["method"]) if "method" in data else None,
        evidence=tuple(_read_reference(e) for e in data.get("evidence", ())),
        reason=data.get("reason", ""),
        observer=data.get("observer", ""),
    )


def _read_reference(data: dict[str, Any]) -> Reference:
    return Reference(
        sop_class_uid=data["class"],
        sop_instance_uid=data["instance"],
        series_instance_uid=data["series"],
        frames=tuple(data.get("frames", ())),
        segment=data.get("segment"),
        roi=data.get("roi"),
        roi_name=data.get("roi_name", ""),
        points=tuple((float(x), float(y)) for x, y in data.get("points", ())),
    )


def _read_value(data: dict[str, Any]) -> Value:
    match data:
        case {"code": code}:
            return Code(*code)
        case {"number": number, "unit": unit}:
            qualifier = Code(*data["qualifier"]) if "qualifier" in data else None
            return Quantity(number=None if number is None else Decimal(number), unit=Code(*unit), qualifier=qualifier)
        case {"date": date}:
            return Date(date)
        case {"uid": uid}:
            return Uid(uid)
        case {"person": person}:
            return PersonName(person)
        case {"text": str(text)}:
            return text
        case _:
            msg = "a value of no known kind"
            raise ValueError(msg)
