"""The reverse of `encode`: an SR of ours back into the `Report` it was made from.

Reads data sets, never highdicom's classes, so that a damaged tree ends in a clear error and not somewhere inside a library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pydicom.dataset import Dataset

from service.errors import InputError
from service.model.age import age_at, sex_of
from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import (
    Answer,
    Provenance,
    Quantity,
    Report,
    Scope,
    Status,
    Subject,
    Value,
)
from service.sr.evidence import Listed, listed
from service.sr.groups import STRUCTURES, numbered_key
from service.sr.origin import NOT_RECORDED
from service.sr.tree import children, code, code_pair, concept, many, pair, text, value_of
from service.sr.words import AFTER_SERIES, PHASE, series_key
from sr_templates import Item, Template, load_codes
from sr_templates.codes import PRIVATE_SCHEME
from sr_templates.language.loader import AFTER_STRUCTURE, side_of
from sr_templates.language.values import Fill
from sr_templates.order import ordered_answers, ordered_subjects

#: parts the key of a template from its version in the line that names both (`encode.template_line`)
AFTER_TEMPLATE = ", version "
_FIRST_TEMPLATE = "baseline"


def parse(ds: Dataset, template: Template) -> Report:
    """Return the report that ``ds`` encodes.

    Raises
    ------
    InputError
        ``ds`` is no report of ours, or its tree is damaged: the message names the place.
    """
    if concept(ds) != pair(template.title):
        msg = f"not a report of template '{template.key}': the root is {concept(ds)}, not {pair(template.title)}"
        raise InputError(msg)
    reader = _Reader(template, listed(ds))
    reader.read(ds)
    name, _, version = reader.template_line.partition(AFTER_TEMPLATE)
    if reader.template_line and name != template.key:
        msg = f"a report of template '{name}', not of '{template.key}'"
        raise InputError(msg)
    subjects = ordered_subjects(reader.subjects, template)
    answers = ordered_answers(_merged(reader.answers), subjects, template)
    return Report(
        template=template.key,
        # the first version did not say so in the object
        template_version=version or "1",
        study_instance_uid=str(ds.get("StudyInstanceUID", "")),
        modalities=_modalities(answers),
        patient_sex=sex_of(str(ds.get("PatientSex", "") or "")),
        patient_age=age_at(str(ds.get("PatientBirthDate", "") or ""), str(ds.get("StudyDate", "") or "")),
        subjects=subjects,
        answers=answers,
        remarks=tuple(reader.remarks),
    )


def template_of(ds: Dataset) -> str:
    """Return the key of the template that a report of ours was made by; empty where ``ds`` is no report of ours.

    The first version wrote no name: what it wrote has our basis codes, and was a baseline.
    """
    codes = load_codes()
    if concept(ds) != pair(codes["tid.title.oncology"]):
        return ""
    for child in children(ds):
        if concept(child) == pair(codes["rep.template"]):
            return text(child).partition(AFTER_TEMPLATE)[0]
    schemes = {s.get("CodingSchemeDesignator") for s in ds.get("CodingSchemeIdentificationSequence") or ()}
    return _FIRST_TEMPLATE if PRIVATE_SCHEME in schemes else ""


def _modalities(answers: Iterable[Answer]) -> tuple[str, ...]:
    codes = load_codes()
    known = {pair(codes[f"mod.{m.lower()}"]): m for m in ("CT", "MR", "US", "PT", "NM", "XA")}
    found = {known.get(pair(v)) for a in answers if a.item == "tid.modality" for v in a.values if isinstance(v, Code)}
    return tuple(sorted(m for m in found if m))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What a container or an item says of where its answers came from; None: nothing."""

    basis: tuple[Status, Provenance] | None = None
    observer: str = ""


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
        self._keys = {name: pair(codes[name]) for name in _NAMES}
        self._bases = {
            pair(codes[k]): k for k in (r.key for r in codes) if k.startswith("ans.") and k not in _NOT_BASES
        }
        self._by_scope: dict[Scope, dict[tuple[str, str], list[Item]]] = {}
        for item in (*template, *template.retired):
            if item.fill is not Fill.ROW:
                self._by_scope.setdefault(item.scope, {}).setdefault(pair(item.concept), []).append(item)
        self.template_line = ""
        self._reporter = ""

    def read(self, root: Dataset) -> None:
        """Collect subjects, answers and remarks of the whole tree."""
        sections = {pair(s.heading): s.key for s in self._template.sections}
        people = [c for c in children(root) if concept(c) == self._keys["tid.person_observer_name"]]
        # who reports as a whole answers for what states nobody else (`origin.reporter`)
        self._reporter = str(people[0].get("PersonName", "") or "") if len(people) == 1 else ""
        for child in children(root):
            name = concept(child)
            if name == self._keys["tid.image_library"]:
                for group in children(child):
                    self._series(group)
            elif name == self._keys["tid.imaging_measurements"]:
                shared = self._context(child, self._reporter)
                for group in children(child):
                    if concept(group) == self._keys["tid.measurement_group"]:
                        self._group(group, shared)
            elif name == self._keys["rep.summary"]:
                self._summary(child)
            elif name == self._keys["rep.template"]:
                self.template_line = text(child)
            elif name in sections:
                self._section(child)
            elif str(child.get("ValueType", "")) != "CONTAINER":
                self._answer(child, Scope.REPORT, "", _Context(basis=_RECORDED))

    def _summary(self, summary: Dataset) -> None:
        for child in children(summary):
            if concept(child) == self._keys["rep.remark"]:
                self.remarks.append(self._original(child))
            elif concept(child) == self._keys["rep.impression"]:
                self._answer(child, Scope.REPORT, "", _Context(), named=self._keys["hd.impression_el"])

    def _section(self, section: Dataset) -> None:
        context = self._context(section, self._reporter)
        for item in children(section):
            if concept(item) == self._keys["rep.series"]:
                name, _, line = self._original(item).partition(AFTER_SERIES)
                self._lines[series_key(name)] = line
            elif item.get("ValueType") == "CONTAINER":
                self._candidate(item)
            elif concept(item) != self._keys["tid.person_observer_name"]:
                # (the observer of a section is no answer: who reports stands at the root)
                self._answer(item, Scope.REPORT, "", context)

    def _candidate(self, group: Dataset) -> None:
        """Read a candidate of the differential diagnosis."""
        diagnosis = next((code(c) for c in children(group) if concept(c) == self._keys["dd"]), None)
        if diagnosis is None:
            return
        key = self._structure_key(Scope.CANDIDATE, diagnosis, None)
        self.subjects.append(
            Subject(key=key, scope=Scope.CANDIDATE, tracking_id=diagnosis.meaning, structure=diagnosis)
        )
        context = self._context(group, self._reporter)
        for child in children(group):
            self._answer(child, Scope.CANDIDATE, key, context)

    def _context(self, parent: Dataset, inherited: str = "") -> _Context:
        """Return what a container (or an item) says of where its answers came from, and of who gave them."""
        basis, observer = None, inherited
        for child in children(parent):
            if concept(child) == self._keys["ans.basis"]:
                basis = self._decoded(child)
            elif concept(child) in {self._keys["tid.person_observer_name"], self._keys["ans.observer"]}:
                observer = str(child.get("PersonName", "") or "") or text(child)
        return _Context(basis=basis, observer=observer)

    def _decoded(self, item: Dataset) -> tuple[Status, Provenance]:
        key = self._bases.get(code_pair(item), "")
        if key == "ans.stated":
            return Status.CONFIRMED, Provenance.RADIOLOGIST
        _, status, provenance = (key or "ans..").split(".")
        if not status:
            msg = f"the basis {code_pair(item)} is not known"
            raise InputError(msg)
        return Status(status), Provenance(provenance)

    def _series(self, group: Dataset) -> None:
        key = uid = ""
        for child in children(group):
            if concept(child) == self._keys["rep.series"]:
                key = series_key(text(child))
            elif concept(child) == self._keys["lib.series_uid"]:
                uid = str(child.get("UID", ""))
        if not key:
            return
        before = len(self.answers)
        context = self._context(group, self._reporter)
        for child in children(group):
            self._answer(child, Scope.SERIES, key, context)
        line = self._lines.get(key, "")
        if any(a.item == "tech.phase" for a in self.answers[before:]):
            line = line.rpartition(PHASE)[0]
        self.subjects.append(Subject(key=key, scope=Scope.SERIES, tracking_id=line, tracking_uid=uid))

    def _group(self, group: Dataset, shared: _Context) -> None:
        """Read a lesion or a structure; what is ``shared`` holds where the group states no basis of its own."""
        number = 1 + sum(s.scope not in {Scope.SERIES, Scope.CANDIDATE} for s in self.subjects)
        subject = Subject(key="", scope=Scope.LESION)
        for child in children(group):
            subject = self._identified(subject, child)
        if not subject.tracking_id or not subject.tracking_uid:
            msg = f"measurement group {number} has no tracking identifier or no tracking UID"
            raise InputError(msg)
        if subject.scope in {Scope.LESION, Scope.NODE}:
            count = 1 + sum(s.scope is subject.scope for s in self.subjects)
            subject = replace(subject, key=subject.key or numbered_key(subject.scope, count))
        elif subject.structure is not None:
            subject = replace(subject, key=self._structure_key(subject.scope, subject.structure, subject.side))
        else:
            msg = f"measurement group {number} is about a {subject.scope.value}, but has no finding site"
            raise InputError(msg)
        self.subjects.append(subject)
        context = self._context(group, shared.observer)
        if context.basis is None:
            context = shared
        for child in children(group):
            self._answer(child, subject.scope, subject.key, context)
            if subject.scope is Scope.LESION:
                for inner in children(child):
                    if concept(inner) == self._keys["tid.laterality"]:
                        self._answer(inner, Scope.LESION, subject.key, context)

    def _identified(self, subject: Subject, child: Dataset) -> Subject:
        """Return ``subject`` with what one row of its group says of it."""
        name = concept(child)
        if name == self._keys["tid.tracking_id"]:
            return replace(subject, tracking_id=text(child))
        if name == self._keys["tid.identifier"]:
            return replace(subject, key=text(child))
        if child.get("ValueType") == "UIDREF":
            return self._with_uid(subject, name, str(child.get("UID", "")))
        marks = {self._keys["tid.referenced_segment"], self._keys["tid.region_in_space"]}
        if name in marks and child.get("RelationshipType") == "CONTAINS":
            return replace(subject, segment=self._reference(child))
        if name == self._keys["rep.remark"]:
            return replace(subject, remarks=(*subject.remarks, self._original(child)))
        if name == self._keys["rep.structure"]:
            word = self._original(child)
            scope = next((s for s, phrase in STRUCTURES.items() if phrase.value == word), None)
            if scope is None:
                msg = "a measurement group is about a kind of structure that is not known"
                raise InputError(msg)
            return replace(subject, scope=scope)
        if name == self._keys["tid.finding_site"] and subject.scope is not Scope.LESION:
            sides = (code(c) for c in children(child) if concept(c) == self._keys["tid.laterality"])
            return replace(subject, structure=code(child), side=next(sides, None))
        return subject

    def _with_uid(self, subject: Subject, name: tuple[str, str], uid: str) -> Subject:
        if name == self._keys["tid.tracking_uid"]:
            return replace(subject, tracking_uid=uid)
        if name == self._keys["tid.source_series_seg"] and subject.scope in STRUCTURES:
            return replace(subject, source_series=uid)
        return subject

    def _original(self, item: Dataset) -> str:
        """Return what a text says in English: below it in a report of another language (`groups.worded`), else the text itself."""
        english = (text(c) for c in children(item) if concept(c) == self._keys["rep.original"])
        return next(english, text(item))

    def _structure_key(self, scope: Scope, structure: Code, side: Code | None) -> str:
        """Return the key of a structure: that of its value in the template, else its code; behind it the side."""
        matrix = self._template.matrix(scope)
        item = self._template.item(matrix.item) if matrix is not None else None
        named = zip(item.values, item.value_keys, strict=True) if item is not None else ()
        key = next((k for v, k in named if v.same(structure)), f"{structure.scheme}:{structure.value}")
        word = side_of(side)
        return f"{key}{AFTER_STRUCTURE}{word}" if word else key

    def _item(self, scope: Scope, name: tuple[str, str], value: Value | None) -> Item | None:
        """Return the item that an answer belongs to; of two with one concept (`method`), the one that has the value."""
        found = self._by_scope.get(scope, {}).get(name, [])
        if len(found) > 1 and isinstance(value, Code):
            return next((i for i in found if any(v.same(value) for v in i.values)), found[0])
        return found[0] if found else None

    def _answer(
        self, child: Dataset, scope: Scope, subject: str, context: _Context, named: tuple[str, str] | None = None
    ) -> None:
        name = named or concept(child)
        if name not in self._by_scope.get(scope, {}):
            return
        value = value_of(child)
        item = self._item(scope, name, value)
        if item is None:
            return
        if value is None:
            msg = f"item '{item.key}' has no value of type {child.get('ValueType', '?')}"
            raise InputError(msg)
        if isinstance(value, Quantity) and item.unit is not None:
            if value.number is None:
                value = replace(value, unit=item.unit)
            elif not value.unit.same(item.unit):
                # what a person edited: a number in another unit is another number, and never taken for ours
                msg = f"item '{item.key}' is in {item.unit.value}, not in the unit that stands beside its number"
                raise InputError(msg)
        own = self._context(child)
        # what the software records unattended or derives says so only where it is otherwise (`origin.implied_basis`)
        implied = {Fill.AUTOMATIC: _RECORDED, Fill.DERIVED: _MADE}.get(item.fill, context.basis)
        found = own.basis or implied
        if found is None:
            msg = f"item '{item.key}' does not say where it came from"
            raise InputError(msg)
        status, provenance = _FIXED.get(item.key, found)
        asked = item.fill not in {Fill.AUTOMATIC, Fill.DERIVED}
        observer = own.observer or (context.observer if asked and status is Status.CONFIRMED else "")
        observer = "" if observer == NOT_RECORDED else observer
        answer = Answer(
            item=item.key, subject=subject, values=(value,), status=status, provenance=provenance, observer=observer
        )
        for modifier in children(child):
            answer = self._modified(answer, modifier)
        self.answers.append(answer)

    def _modified(self, answer: Answer, modifier: Dataset) -> Answer:
        name = concept(modifier)
        if name == self._keys["ans.detail"]:
            return replace(answer, basis=text(modifier))
        if name == self._keys["ans.reason"]:
            return replace(answer, reason=text(modifier))
        if name == self._keys["tid.method"]:
            return replace(answer, method=code(modifier))
        if name == self._keys["tid.derivation"]:
            return replace(answer, derivation=code(modifier))
        if modifier.get("RelationshipType") == "INFERRED FROM":
            return replace(answer, evidence=(*answer.evidence, self._reference(modifier)))
        return answer

    def _reference(self, item: Dataset) -> Reference:
        if item.get("ValueType") == "COMPOSITE":
            return self._region(item)
        if item.get("ValueType") != "SCOORD":
            return self._image(item)
        images = [c for c in children(item) if c.get("ValueType") == "IMAGE"]
        if len(images) != 1:
            msg = f"a graphic is drawn on {len(images)} images, not on one"
            raise InputError(msg)
        data = [round(float(v), 2) for v in item.GraphicData]
        return replace(self._image(images[0]), points=tuple(zip(data[::2], data[1::2], strict=True)))

    def _region(self, item: Dataset) -> Reference:
        """Return a pointer to an ROI of an RT structure set (`items.region`)."""
        below = {concept(c): text(c) for c in children(item)}
        try:
            number = int(below.get(self._keys["tid.roi_identifier"], ""))
        except ValueError as error:
            msg = "a reference to a structure set does not name an ROI by its number"
            raise InputError(msg) from error
        return replace(self._image(item), roi=number, roi_name=below.get(self._keys["rep.roi_name"], ""))

    def _image(self, item: Dataset) -> Reference:
        sop = next(iter(item.get("ReferencedSOPSequence", [])), None)
        if sop is None:
            msg = f"a reference of type {item.get('ValueType', '?')} names no object"
            raise InputError(msg)
        uid = str(sop.get("ReferencedSOPInstanceUID", ""))
        return Reference(
            sop_class_uid=str(sop.get("ReferencedSOPClassUID", "")),
            sop_instance_uid=uid,
            series_instance_uid=self._known[uid].series_instance_uid if uid in self._known else "",
            frames=tuple(int(f) for f in many(sop.get("ReferencedFrameNumber"))),
            segment=next((int(s) for s in many(sop.get("ReferencedSegmentNumber"))), None),
        )


_NAMES = (
    "tid.image_library", "tid.imaging_measurements", "rep.summary", "rep.remark", "rep.series", "lib.series_uid", "tid.tracking_id",
    "tid.tracking_uid", "tid.referenced_segment", "tid.laterality", "ans.basis", "ans.detail", "tid.method", "tid.derivation",
    "tid.identifier", "tid.finding_site", "tid.person_observer_name", "rep.structure", "rep.template", "rep.impression",
    "hd.impression_el", "ans.reason", "ans.observer", "dd", "tid.measurement_group",
    "rep.original", "tid.source_series_seg", "tid.region_in_space", "tid.roi_identifier", "rep.roi_name",
)  # fmt: skip
_NOT_BASES = frozenset({"ans.basis", "ans.detail", "ans.reason", "ans.observer"})
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
