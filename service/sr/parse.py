"""The reverse of `encode`: an SR of ours back into the `Report` it was made from.

Reads data sets, never highdicom's classes, so that a damaged tree ends in a clear error and not somewhere inside a library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from pydicom.dataset import Dataset

from service.errors import InputError
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
from service.sr.evidence import Listed, listed
from service.sr.words import AFTER_SERIES, PHASE, series_key
from sr_templates import Item, Template, load_codes
from sr_templates.language.values import Fill


def parse(ds: Dataset, template: Template) -> Report:
    """Return the report that ``ds`` encodes.

    Raises
    ------
    InputError
        ``ds`` is no report of ours, or its tree is damaged: the message names the place.
    """
    if _concept(ds) != _pair(template.title):
        msg = f"not a report of template '{template.key}': the root is {_concept(ds)}, not {_pair(template.title)}"
        raise InputError(msg)
    reader = _Reader(template, listed(ds))
    reader.read(ds)
    order = {item.key: n for n, item in enumerate(template)}
    subjects = tuple(reader.subjects)
    ranks = {s.key: n for n, s in enumerate(subjects)}
    answers = sorted(_merged(reader.answers), key=lambda a: (order[a.item], ranks.get(a.subject, -1)))
    return Report(
        template=template.key,
        template_version=template.version,
        study_instance_uid=str(ds.get("StudyInstanceUID", "")),
        modalities=_modalities(answers),
        subjects=subjects,
        answers=tuple(answers),
        remarks=tuple(reader.remarks),
    )


def _modalities(answers: Iterable[Answer]) -> tuple[str, ...]:
    codes = load_codes()
    known = {_pair(codes[f"mod.{m.lower()}"]): m for m in ("CT", "MR", "US", "PT", "NM", "XA")}
    found = {known.get(_pair(v)) for a in answers if a.item == "tid.modality" for v in a.values if isinstance(v, Code)}
    return tuple(sorted(m for m in found if m))


class _Reader:
    """Walks the tree once and collects subjects and answers."""

    def __init__(self, template: Template, known: Mapping[str, Listed]) -> None:
        codes = load_codes()
        self._template = template
        self._known = known
        self.subjects: list[Subject] = []
        self.answers: list[Answer] = []
        self.remarks: list[str] = []
        self._lines: dict[str, str] = {}
        self._keys = {name: _pair(codes[name]) for name in _NAMES}
        self._bases = {
            _pair(codes[k]): k for k in (r.key for r in codes) if k.startswith("ans.") and k not in _NOT_BASES
        }
        self._by_scope: dict[Scope, dict[tuple[str, str], Item]] = {}
        for item in template:
            self._by_scope.setdefault(item.scope, {}).setdefault(_pair(item.concept), item)

    def read(self, root: Dataset) -> None:
        """Collect subjects, answers and remarks of the whole tree."""
        sections = {_pair(s.heading): s.key for s in self._template.sections}
        for child in _children(root):
            name = _concept(child)
            if name == self._keys["tid.image_library"]:
                for group in _children(child):
                    self._series(group)
            elif name == self._keys["tid.imaging_measurements"]:
                for group in _children(child):
                    self._lesion(group)
            elif name == self._keys["rep.summary"]:
                self.remarks += [_text(c) for c in _children(child) if _concept(c) == self._keys["rep.remark"]]
            elif name in sections:
                self._section(child)
            elif str(child.get("ValueType", "")) != "CONTAINER":
                self._answer(child, Scope.REPORT, "", _RECORDED)

    def _section(self, section: Dataset) -> None:
        basis = self._basis(section)
        for item in _children(section):
            if _concept(item) == self._keys["rep.series"]:
                name, _, line = _text(item).partition(AFTER_SERIES)
                self._lines[series_key(name)] = line
            else:
                self._answer(item, Scope.REPORT, "", basis)

    def _basis(self, parent: Dataset) -> tuple[Status, Provenance] | None:
        """Return what a container (or an item) says of where its answers came from."""
        for child in _children(parent):
            if _concept(child) == self._keys["ans.basis"]:
                return self._decoded(child)
        return None

    def _decoded(self, item: Dataset) -> tuple[Status, Provenance]:
        key = self._bases.get(_code_pair(item), "")
        if key == "ans.stated":
            return Status.CONFIRMED, Provenance.RADIOLOGIST
        _, status, provenance = (key or "ans..").split(".")
        if not status:
            msg = f"the basis {_code_pair(item)} is not known"
            raise InputError(msg)
        return Status(status), Provenance(provenance)

    def _series(self, group: Dataset) -> None:
        key = uid = ""
        for child in _children(group):
            if _concept(child) == self._keys["rep.series"]:
                key = series_key(_text(child))
            elif _concept(child) == self._keys["lib.series_uid"]:
                uid = str(child.get("UID", ""))
        if not key:
            return
        before = len(self.answers)
        basis = self._basis(group)
        for child in _children(group):
            self._answer(child, Scope.SERIES, key, basis)
        line = self._lines.get(key, "")
        if any(a.item == "tech.phase" for a in self.answers[before:]):
            line = line.rpartition(PHASE)[0]
        self.subjects.append(Subject(key=key, scope=Scope.SERIES, tracking_id=line, tracking_uid=uid))

    def _lesion(self, group: Dataset) -> None:
        number = 1 + sum(s.scope is Scope.LESION for s in self.subjects)
        key = f"LMS-T{number}"
        identifier = uid = ""
        segment: Reference | None = None
        remarks: list[str] = []
        for child in _children(group):
            name = _concept(child)
            if name == self._keys["tid.tracking_id"]:
                identifier = _text(child)
            elif name == self._keys["tid.tracking_uid"]:
                uid = str(child.get("UID", ""))
            elif name == self._keys["tid.referenced_segment"]:
                segment = self._image(child)
            elif name == self._keys["rep.remark"]:
                remarks.append(_text(child))
        if not identifier or not uid:
            msg = f"measurement group {number} has no tracking identifier or no tracking UID"
            raise InputError(msg)
        self.subjects.append(
            Subject(
                key=key,
                scope=Scope.LESION,
                tracking_id=identifier,
                tracking_uid=uid,
                segment=segment,
                remarks=tuple(remarks),
            )
        )
        basis = self._basis(group)
        for child in _children(group):
            self._answer(child, Scope.LESION, key, basis)
            for inner in _children(child):
                if _concept(inner) == self._keys["tid.laterality"]:
                    self._answer(inner, Scope.LESION, key, basis)

    def _answer(self, child: Dataset, scope: Scope, subject: str, basis: tuple[Status, Provenance] | None) -> None:
        item = self._by_scope.get(scope, {}).get(_concept(child))
        if item is None:
            return
        value = _value(child)
        if value is None:
            msg = f"item '{item.key}' has no value of type {child.get('ValueType', '?')}"
            raise InputError(msg)
        # what the software records unattended comes from the header unless it says otherwise (`encode.implied_basis`)
        found = self._basis(child) or (_RECORDED if item.fill is Fill.AUTOMATIC else basis)
        if found is None:
            msg = f"item '{item.key}' does not say where it came from"
            raise InputError(msg)
        status, provenance = _FIXED.get(item.key, found)
        answer = Answer(item=item.key, subject=subject, values=(value,), status=status, provenance=provenance)
        for modifier in _children(child):
            answer = self._modified(answer, modifier)
        self.answers.append(answer)

    def _modified(self, answer: Answer, modifier: Dataset) -> Answer:
        name = _concept(modifier)
        if name == self._keys["ans.detail"]:
            return replace(answer, basis=_text(modifier))
        if name == self._keys["tid.method"]:
            return replace(answer, method=_code(modifier))
        if name == self._keys["tid.derivation"]:
            return replace(answer, derivation=_code(modifier))
        if modifier.get("RelationshipType") == "INFERRED FROM":
            return replace(answer, evidence=(*answer.evidence, self._reference(modifier)))
        return answer

    def _reference(self, item: Dataset) -> Reference:
        if item.get("ValueType") != "SCOORD":
            return self._image(item)
        images = [c for c in _children(item) if c.get("ValueType") == "IMAGE"]
        if len(images) != 1:
            msg = f"a graphic is drawn on {len(images)} images, not on one"
            raise InputError(msg)
        data = [round(float(v), 2) for v in item.GraphicData]
        return replace(self._image(images[0]), points=tuple(zip(data[::2], data[1::2], strict=True)))

    def _image(self, item: Dataset) -> Reference:
        sop = next(iter(item.get("ReferencedSOPSequence", [])), None)
        if sop is None:
            msg = "an image reference names no image"
            raise InputError(msg)
        uid = str(sop.get("ReferencedSOPInstanceUID", ""))
        return Reference(
            sop_class_uid=str(sop.get("ReferencedSOPClassUID", "")),
            sop_instance_uid=uid,
            series_instance_uid=self._known[uid].series_instance_uid if uid in self._known else "",
            frames=tuple(int(f) for f in _many(sop.get("ReferencedFrameNumber"))),
            segment=next((int(s) for s in _many(sop.get("ReferencedSegmentNumber"))), None),
        )


_NAMES = (
    "tid.image_library", "tid.imaging_measurements", "rep.summary", "rep.remark", "rep.series", "lib.series_uid", "tid.tracking_id",
    "tid.tracking_uid", "tid.referenced_segment", "tid.laterality", "ans.basis", "ans.detail", "tid.method", "tid.derivation",
)  # fmt: skip
_NOT_BASES = frozenset({"ans.basis", "ans.detail"})
#: rows that carry no basis because it goes without saying
_RECORDED = (Status.AUTOMATIC, Provenance.DICOM)
_MADE = (Status.AUTOMATIC, Provenance.RULE)
_FIXED = MappingProxyType(
    {
        "tid.device_name": _MADE,
        "tid.device_uid": _MADE,
        "tid.tracking_id": _MADE,
        "tid.tracking_uid": _MADE,
        "tid.person_observer_name": (Status.CONFIRMED, Provenance.RADIOLOGIST),
    }
)


def _merged(answers: Iterable[Answer]) -> Iterator[Answer]:
    """Put values side by side that differ in nothing but the value: one answer with several values is written as several items."""
    merged: dict[Answer, list[Value]] = {}
    for answer in answers:
        merged.setdefault(replace(answer, values=()), []).extend(answer.values)
    for answer, values in merged.items():
        yield replace(answer, values=tuple(values))


def _pair(code: Code) -> tuple[str, str]:
    return code.value, code.scheme


def _code_of(sequence: object) -> Code | None:
    first = next(iter(sequence), None) if isinstance(sequence, Iterable) else None
    if not isinstance(first, Dataset):
        return None
    return Code(
        str(first.get("CodeValue", "")), str(first.get("CodingSchemeDesignator", "")), str(first.get("CodeMeaning", ""))
    )


def _concept(item: Dataset) -> tuple[str, str]:
    code = _code_of(item.get("ConceptNameCodeSequence"))
    return _pair(code) if code else ("", "")


def _code(item: Dataset) -> Code | None:
    return _code_of(item.get("ConceptCodeSequence"))


def _code_pair(item: Dataset) -> tuple[str, str]:
    code = _code(item)
    return _pair(code) if code else ("", "")


def _children(item: Dataset) -> tuple[Dataset, ...]:
    return tuple(item.get("ContentSequence") or ())


def _text(item: Dataset) -> str:
    return str(item.get("TextValue", ""))


def _many(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


def _value(item: Dataset) -> Value | None:
    match item.get("ValueType"):
        case "CODE":
            return _code(item)
        case "TEXT":
            return _text(item)
        case "DATE":
            return Date(str(item.get("Date", "")))
        case "UIDREF":
            return Uid(str(item.get("UID", "")))
        case "PNAME":
            return PersonName(str(item.get("PersonName", "")))
        case "NUM":
            return _quantity(item)
        case _:
            return None


def _quantity(item: Dataset) -> Quantity:
    qualifier = _code_of(item.get("NumericValueQualifierCodeSequence"))
    measured = next(iter(item.get("MeasuredValueSequence") or ()), None)
    if measured is None:
        return Quantity(number=None, unit=Code("1", "UCUM", "no units"), qualifier=qualifier)
    unit = _code_of(measured.get("MeasurementUnitsCodeSequence"))
    text = str(getattr(measured.get("NumericValue"), "original_string", None) or measured.get("NumericValue", ""))
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        msg = "a number is no number"
        raise InputError(msg) from error
    if unit is None:
        msg = "a number has no unit"
        raise InputError(msg)
    return Quantity(number=number, unit=unit, qualifier=qualifier)
