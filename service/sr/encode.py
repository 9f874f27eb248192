"""`Report` to content tree: TID 1500 Measurement Report (PS3.16), title 126001, extended where the standard lets it be.

Order for the reader, since most viewers flatten the tree: impression or automatic summary, open items, the sections with answers, then
the image library (one group per series) and the measurements (one group per lesion). An empty section is never written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from highdicom.sr import ContentItem, RelationshipTypeValues

from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import Answer, CompletionFlag, Provenance, Report, Scope, Status, Subject
from service.sr import items, words
from sr_templates import Item, Template, load_codes
from sr_templates.language.values import Fill
from sr_templates.questions import completeness

#: sections whose answers stand elsewhere in the tree: in the observer context
_OBSERVERS = "participants"
_IMPRESSION = "impression"
_TECHNIQUE = "technique"
#: answers that TID 1500 gives a place of their own, or that a group's rows carry
_PROCEDURE = "tid.procedure_reported"
_PERSON = "tid.person_observer_name"
_OBSERVER_ROWS = frozenset({"tid.device_name", "tid.device_uid", _PERSON})
_IDENTITY = ("tid.tracking_id", "tid.tracking_uid")
_SITE, _SIDE = "tid.finding_site", "tid.laterality"
#: the basis of rows that nobody is asked about
_RECORDED = "ans.automatic.dicom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """What a rendition shows beside the answers."""

    completion: CompletionFlag = CompletionFlag.PARTIAL
    #: where the report can be completed; empty: nowhere yet
    complete_at: str = ""


def encode(report: Report, template: Template, presentation: Presentation) -> ContentItem:
    """Return the root container of ``report``.

    Raises
    ------
    ValueError
        A value cannot be written as its item says (highdicom checks each).
    """
    root = items.container(template.title, relation=None, template="1500")
    items.add(root, *_preamble(report, template))
    items.add(root, *_sections(report, template, presentation))
    library = _library(report, template)
    if library is not None:
        items.add(root, library)
    items.add(root, _measurements(report, template))
    return root


def preamble(report: Report, template: Template) -> tuple[ContentItem, ...]:
    """Return language, observer context and procedure reported: the same in report and companion."""
    return tuple(_preamble(report, template))


def _preamble(report: Report, template: Template) -> Iterable[ContentItem]:
    yield items.code(items.key("tid.language"), items.key("tid.language.en_us"), items.HAS_CONCEPT_MOD)
    if report.answers_of("tid.device_uid"):
        # TID 1002 and 1004: the observer is this software; a person becomes an observer by answering
        yield items.code(items.key("tid.observer_type"), items.key("tid.device"), items.HAS_OBS_CONTEXT)
        for name in ("tid.device_uid", "tid.device_name"):
            yield from _plain(report, _item(template, name), "", items.HAS_OBS_CONTEXT)
    if report.answers_of(_PERSON):
        yield items.code(items.key("tid.observer_type"), items.key("tid.person"), items.HAS_OBS_CONTEXT)
        yield from _plain(report, _item(template, _PERSON), "", items.HAS_OBS_CONTEXT)
    yield from _plain(report, _item(template, _PROCEDURE), "", items.HAS_CONCEPT_MOD)


def _item(template: Template, key: str) -> Item:
    item = template.item(key)
    if item is None:
        msg = f"template '{template.key}' has no item '{key}', which every report needs"
        raise ValueError(msg)
    return item


def _sections(report: Report, template: Template, presentation: Presentation) -> Iterable[ContentItem]:
    counted = completeness(report, template)
    draft = presentation.completion is CompletionFlag.PARTIAL
    how_complete = items.text(items.key("rep.completeness"), words.completeness(counted))
    for section in template.sections:
        if section.key == _IMPRESSION:
            children = [*_section(report, section.items), *([] if draft else [how_complete])]
            if children:
                yield items.container(section.heading, children)
    if draft:
        said = items.text(items.key("hd.summary"), words.summary(report, counted, draft=True))
        remarks = (items.text(items.key("rep.remark"), r) for r in report.remarks)
        yield items.container(items.key("rep.summary"), [said, how_complete, *remarks])
        if counted.open_items:
            where = (
                [items.text(items.key("rep.complete_at"), presentation.complete_at)] if presentation.complete_at else []
            )
            open_items = items.text(items.key("rep.to_answer"), " · ".join(counted.open_items))
            yield items.container(items.key("rep.open_items"), [open_items, *where])
    for section in template.sections:
        if section.key in {_IMPRESSION, _OBSERVERS}:
            continue
        children = _section(report, section.items)
        if section.key == _TECHNIQUE:
            children = [*(_series_line(report, s) for s in report.subjects_of(Scope.SERIES)), *children]
        if children:
            yield items.container(section.heading, children)


def _series_line(report: Report, subject: Subject) -> ContentItem:
    name = words.series_name(subject.key)
    return items.text(items.key("rep.series"), f"{name}{words.AFTER_SERIES}{words.series_line(report, subject)}")


def _section(report: Report, section: tuple[Item, ...]) -> list[ContentItem]:
    asked = [i for i in section if i.scope is Scope.REPORT and i.key not in {_PROCEDURE, *_OBSERVER_ROWS}]
    basis = common_basis((i, a) for i in asked for a in report.answers_of(i.key))
    children = [child for item in asked for child in _answers(report, item, "", basis)]
    return [*_basis(basis), *children]


def _library(report: Report, template: Template) -> ContentItem | None:
    """TID 1600: one group per series with what its images share (TID 1602), and the images that a measurement points at."""
    pointed = {e.sop_instance_uid: e for a in report.answers for e in a.evidence if e.segment is None}
    groups = []
    for subject in report.subjects_of(Scope.SERIES):
        asked = [i for i in template if i.scope is Scope.SERIES]
        basis = common_basis((i, a) for i in asked for a in report.answers_of(i.key, subject.key))
        descriptors = [c for i in asked for c in _answers(report, i, subject.key, basis, items.HAS_ACQ_CONTEXT)]
        name = items.text(items.key("rep.series"), words.series_name(subject.key), items.HAS_ACQ_CONTEXT)
        series_uid = items.uid(items.key("lib.series_uid"), subject.tracking_uid, items.HAS_ACQ_CONTEXT)
        images = [
            items.image(items.key("tid.source"), _whole(e))
            for _, e in sorted(pointed.items())
            if e.series_instance_uid == subject.tracking_uid
        ]
        group = [name, *_basis(basis), *descriptors, series_uid, *images]
        groups.append(items.container(items.key("tid.image_library_group"), group))
    return items.container(items.key("tid.image_library"), groups) if groups else None


def _whole(reference: Reference) -> Reference:
    return Reference(
        sop_class_uid=reference.sop_class_uid,
        sop_instance_uid=reference.sop_instance_uid,
        series_instance_uid=reference.series_instance_uid,
    )


def _measurements(report: Report, template: Template) -> ContentItem:
    lesions = report.subjects_of(Scope.LESION)
    if not lesions:
        # TID 1500 wants one of three containers; saying why there is nothing is better than an empty one
        remark = items.text(items.key("tid.comment"), "No measurement: the study holds no segmentation of a tumour")
        return items.container(items.key("tid.qualitative_evaluations"), [remark])
    groups = [_group(report, template, subject) for subject in lesions]
    return items.container(items.key("tid.imaging_measurements"), groups)


def _group(report: Report, template: Template, subject: Subject) -> ContentItem:
    """TID 1411 Volumetric ROI Measurements (with a segment) or TID 1501: comment in words first, then the rows."""
    asked = [i for i in template if i.scope is Scope.LESION and i.key not in _IDENTITY]
    basis = common_basis((i, a) for i in asked for a in report.answers_of(i.key, subject.key))
    children: list[ContentItem] = [items.text(items.key("tid.comment"), words.lesion_comment(report, subject))]
    for name in _IDENTITY:
        children.extend(_plain(report, _item(template, name), subject.key, items.HAS_OBS_CONTEXT))
    children.extend(_basis(basis))
    children.extend(items.text(items.key("rep.remark"), r) for r in subject.remarks)
    for item in asked:
        if item.key == _SITE:
            children.extend(_place(report, template, subject, basis))
        elif item.key != _SIDE:
            children.extend(_answers(report, item, subject.key, basis))
    if subject.segment is not None:
        children.append(items.image(items.key("tid.referenced_segment"), subject.segment))
        if source := _source_series(report, subject):
            children.append(items.uid(items.key("tid.source_series_seg"), source))
    template_id = "1411" if subject.segment is not None else "1501"
    return items.container(items.key("tid.measurement_group"), children, template=template_id)


def _source_series(report: Report, subject: Subject) -> str:
    """Return the series that the segment was drawn on: that of the images which its measurements point at."""
    pointed = [
        e.series_instance_uid
        for a in report.answers
        if a.subject == subject.key
        for e in a.evidence
        if e.segment is None
    ]
    return pointed[0] if pointed else ""


def _place(report: Report, template: Template, subject: Subject, basis: Code | None) -> Iterable[ContentItem]:
    """Yield Finding Site with its laterality below; a side without a site stands by itself, so that it is not lost."""
    sites = list(_answers(report, _item(template, _SITE), subject.key, basis, items.HAS_CONCEPT_MOD))
    side_relation = items.HAS_CONCEPT_MOD if sites else items.CONTAINS
    side = list(_answers(report, _item(template, _SIDE), subject.key, basis, side_relation))
    if sites and side:
        items.add(sites[0], *side)
        return sites
    return sites or side


def _plain(report: Report, item: Item, subject: str, relation: RelationshipTypeValues) -> Iterable[ContentItem]:
    """Yield the items of an identity row: its origin goes without saying."""
    for answer in report.answers_of(item.key, subject):
        for value in answer.values:
            yield items.value(item.concept, value, relation)


def _answers(
    report: Report,
    item: Item,
    subject: str,
    basis: Code | None,
    relation: RelationshipTypeValues = items.CONTAINS,
) -> Iterable[ContentItem]:
    for answer in report.answers_of(item.key, subject):
        for value in answer.values:
            child = items.value(item.concept, value, relation)
            items.add(child, *_modifiers(answer, implied_basis(item, basis)))
            yield child


def basis_code(answer: Answer) -> Code:
    """Return the code that says where an answer came from and whether a person confirmed it."""
    codes = load_codes()
    if answer.status is Status.CONFIRMED and answer.provenance is Provenance.RADIOLOGIST:
        return codes["ans.stated"]
    return codes[f"ans.{answer.status.value}.{answer.provenance.value}"]


def common_basis(answers: Iterable[tuple[Item, Answer]]) -> Code | None:
    """Return the basis that a container states for its answers; `implied_basis` says what it means for each, deviations stand at theirs.

    Viewers show what stands directly below a container and hide what hangs below an item. So where anything is only proposed, the
    container says "proposed": a reader must never take a proposal for confirmed because most of its neighbours are.
    """
    asked = [(a.status is Status.PROPOSED, basis_code(a)) for i, a in answers if i.fill is not Fill.AUTOMATIC]
    counted = Counter(asked)
    return max(counted, key=lambda c: (c[0], counted[c], c[1].value))[1] if counted else None


def implied_basis(item: Item, stated: Code | None) -> Code | None:
    """Return the basis of an answer that states none itself.

    Rows that the software records unattended (`fill: automatic`) come from the header unless they say otherwise, whatever their
    container states: a modality or a date is no proposal.
    """
    return load_codes()[_RECORDED] if item.fill is Fill.AUTOMATIC else stated


def _basis(basis: Code | None) -> list[ContentItem]:
    return [items.code(items.key("ans.basis"), basis, items.HAS_CONCEPT_MOD)] if basis else []


def _modifiers(answer: Answer, basis: Code | None) -> Iterable[ContentItem]:
    if answer.method is not None:
        yield items.code(items.key("tid.method"), answer.method, items.HAS_CONCEPT_MOD)
    if answer.derivation is not None:
        yield items.code(items.key("tid.derivation"), answer.derivation, items.HAS_CONCEPT_MOD)
    if (own := basis_code(answer)) != basis:
        yield items.code(items.key("ans.basis"), own, items.HAS_CONCEPT_MOD)
    if answer.basis:
        yield items.text(items.key("ans.detail"), answer.basis, items.HAS_CONCEPT_MOD)
    for reference in answer.evidence:
        yield items.evidence(reference)
