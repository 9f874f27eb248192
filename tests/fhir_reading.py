"""The reverse of `service.export.fhir_response`: a QuestionnaireResponse of ours back into the `Report` it was made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from service.errors import InputError
from service.export.codings import OID, designator_of
from service.export.fhir import SCHEME, Json
from service.export.fhir_response import ANSWER, REPORT, SUBJECT, TEXTS
from service.model.code import Code
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
from sr_templates import Item, Template
from sr_templates.language.values import Fill
from sr_templates.order import ordered_answers, ordered_subjects

#: a tree deeper than this is none of ours
_MAX_DEPTH = 8


def read_response(text: str, template: Template) -> Report:
    """Return the report that `service.export.fhir_response.response` wrote, in the one order of reports.

    Raises
    ------
    InputError
        ``text`` is no such JSON, or a response to another template.
    """
    try:
        data = json.loads(text, parse_float=Decimal)
        if data.get("resourceType") != "QuestionnaireResponse":
            msg = "no QuestionnaireResponse"
            raise InputError(msg)
        about = _Parts(data, REPORT)
        if (name := about.text("template")) != template.key:
            msg = f"a response to template '{name}', not to '{template.key}'"
            raise InputError(msg)
        reader = _Reader(template)
        for item in data.get("item", ()):
            reader.read(item, "", 0)
        subjects = ordered_subjects(reader.subjects, template)
        return Report(
            template=name,
            template_version=about.text("template-version"),
            study_instance_uid=about.uid("study"),
            modalities=about.all("modality", "valueCode"),
            patient_sex=about.text("sex"),
            patient_age=next(iter(about.all("age", "valueInteger")), None),
            subjects=subjects,
            answers=ordered_answers(reader.answers, subjects, template),
            remarks=about.all("remark", "valueString"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"no QuestionnaireResponse of ours: {type(error).__name__}"
        raise InputError(msg) from error


class _Parts:
    """The parts of one of our extensions; empty where there is none."""

    def __init__(self, holder: Json, url: str) -> None:
        extensions = holder.get("extension", ())
        self._parts: list[Json] = next((e["extension"] for e in extensions if e["url"] == url), [])

    def __bool__(self) -> bool:
        return bool(self._parts)

    def all(self, name: str, field: str) -> tuple[Any, ...]:
        """Return every value of one name."""
        return tuple(p[field] for p in self._parts if p["url"] == name)

    def has(self, name: str) -> bool:
        """Say whether there is a part of that name."""
        return any(p["url"] == name for p in self._parts)

    def text(self, name: str, field: str = "valueString") -> str:
        """Return a text, or an empty one."""
        return str(next(iter(self.all(name, field)), ""))

    def uid(self, name: str) -> str:
        """Return a UID, or an empty text."""
        return self.text(name, "valueUri").removeprefix(OID)

    def code(self, name: str) -> Code | None:
        """Return a code."""
        return next((_code(c) for c in self.all(name, "valueCoding")), None)

    def references(self, name: str) -> tuple[Reference, ...]:
        """Return pointers into objects."""
        return tuple(_reference(_Parts({"extension": [p]}, name)) for p in self._parts if p["url"] == name)


def _code(data: Json) -> Code:
    scheme = next((str(e["valueString"]) for e in data.get("extension", ()) if e["url"] == SCHEME), "")
    return Code(str(data["code"]), scheme or designator_of(data.get("system", "")), str(data.get("display", "")))


def _reference(parts: _Parts) -> Reference:
    points = (p.split(" ") for p in parts.text("points").split(", ") if p)
    return Reference(
        sop_class_uid=parts.uid("class"),
        sop_instance_uid=parts.uid("instance"),
        series_instance_uid=parts.uid("series"),
        frames=parts.all("frame", "valueInteger"),
        segment=next(iter(parts.all("number", "valueInteger")), None),
        roi=next(iter(parts.all("roi", "valueInteger")), None),
        roi_name=parts.text("roi-name"),
        points=tuple((float(x), float(y)) for x, y in points),
    )


class _Reader:
    """Walks the items once and collects subjects and answers."""

    def __init__(self, template: Template) -> None:
        self._items = {i.key: i for i in (*template, *template.retired)}
        self.subjects: list[Subject] = []
        self.answers: list[Answer] = []

    def read(self, data: Json, subject: str, depth: int) -> None:
        """Read an item and all below it."""
        if depth > _MAX_DEPTH:
            msg = f"no QuestionnaireResponse of ours: items deeper than {_MAX_DEPTH} levels"
            raise InputError(msg)
        if parts := _Parts(data, SUBJECT):
            subject = self._subject(parts)
        for inner in data.get("item", ()):
            self.read(inner, subject, depth + 1)
        key = str(data["linkId"]).partition("[")[0]
        item = self._items.get(key)
        if item is None or item.fill is not Fill.ROW:
            self.answers.extend(_merged(_answers(data, key, item, subject)))

    def _subject(self, parts: _Parts) -> str:
        found = Subject(
            key=parts.text("key"),
            scope=Scope(parts.text("scope")),
            tracking_id=parts.text("tracking-id"),
            tracking_uid=parts.uid("tracking-uid"),
            structure=parts.code("structure"),
            side=parts.code("side"),
            segment=next(iter(parts.references("segment")), None),
            remarks=parts.all("remark", "valueString"),
        )
        self.subjects.append(found)
        return found.key


def _answers(data: Json, key: str, item: Item | None, subject: str) -> Iterator[Answer]:
    for entry in data.get("answer", ()):
        parts = _Parts(entry, ANSWER)
        if not parts:
            # which structure a group is about, and its side, stand in the subject
            continue
        yield Answer(
            item=key,
            subject=parts.text("about") or subject,
            values=(_value(entry, parts, item),),
            status=Status(parts.text("status", "valueCode")),
            provenance=Provenance(parts.text("provenance", "valueCode")),
            basis=parts.text("basis"),
            derivation=parts.code("derivation"),
            method=parts.code("method"),
            evidence=parts.references("evidence"),
            reason=parts.text("reason"),
            observer=parts.text("observer"),
        )


def _merged(answers: Iterator[Answer]) -> Iterator[Answer]:
    """Put values side by side that differ in nothing else: one answer with several values is written as several."""
    merged: dict[Answer, list[Value]] = {}
    for answer in answers:
        merged.setdefault(replace(answer, values=()), []).extend(answer.values)
    for answer, values in merged.items():
        yield replace(answer, values=tuple(values))


def _value(entry: Json, parts: _Parts, item: Item | None) -> Value:
    if coded := parts.code("coded"):
        return coded
    if "valueCoding" in entry:
        return _code(entry["valueCoding"])
    if "valueDecimal" in entry or "_valueDecimal" in entry:
        return _quantity(entry, parts, item)
    kind = parts.text("kind", "valueCode") or (TEXTS.get(item.type, "date") if item is not None else "text")
    if "valueDate" in entry:
        return Date(str(entry["valueDate"]).replace("-", ""))
    written = str(entry.get("valueString", parts.text("written")))
    match kind:
        case "uid":
            return Uid(written)
        case "person":
            return PersonName(written)
        case "date":
            return Date(written)
        case _:
            return written


def _quantity(entry: Json, parts: _Parts, item: Item | None) -> Quantity:
    unit = parts.code("unit") or (item.unit if item is not None else None)
    if unit is None:
        msg = f"the number of item '{item.key if item else '?'}' has no unit"
        raise InputError(msg)
    written = entry.get("valueDecimal")
    digits = parts.text("digits") or (None if written is None else str(written))
    return Quantity(number=None if digits is None else Decimal(digits), unit=unit, qualifier=parts.code("qualifier"))
