"""`Report` to content tree: TID 1500 Measurement Report (PS3.16), title 126001, extended where the standard lets it be.

Order for the reader, since most viewers flatten the tree: impression or automatic summary, open items, the sections with answers, then
the image library (one group per series) and the measurements (one group per lesion and structure). An empty section is never written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import CompletionFlag, Provenance, Report, Scope, Status, Subject
from service.sr import groups, items, origin, words
from service.sr.items import ContentItem, Relation
from service.sr.phrases import ENGLISH, Phrase, Wording, wording_of
from sr_templates import Item, Template
from sr_templates.language.labels import Language
from sr_templates.language.loader import NOT_EVALUATED
from sr_templates.questions import completeness

_IMPRESSION = "impression"
_TECHNIQUE = "technique"
_DIFFERENTIAL = "differential"
#: answers that TID 1500 gives a place of their own, or that a group's rows carry
_PROCEDURE = "tid.procedure_reported"
_PERSON = "tid.person_observer_name"
_OBSERVER_ROWS = frozenset({"tid.device_name", "tid.device_uid", _PERSON})
#: rows of the person observer that stand beside the name, where there is one
_PERSON_ROWS = ("tid.person_observer_org", "tid.person_role_proc")
IMPRESSION = "hd.impression_el"
#: texts of these were put together by the software
_WRITTEN = frozenset({Provenance.RULE, Provenance.PRIOR, Provenance.SEGMENTATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """What a rendition shows beside the answers."""

    completion: CompletionFlag = CompletionFlag.PARTIAL
    #: where the report can be completed; empty: nowhere yet
    complete_at: str = ""
    #: what its prose is written in, and what it says it is written in; codes keep the standard's English
    language: Language = field(default_factory=lambda: ENGLISH.language)


def encode(report: Report, template: Template, presentation: Presentation) -> ContentItem:
    """Return the root container of ``report``.

    Raises
    ------
    ValueError
        The template lacks an item that every report needs.
    TemplateError
        ``codes.csv`` has no code for the language.
    """
    wording = wording_of(presentation.language)
    root = items.container(template.title, relation=None, template="1500")
    items.add(root, *_preamble(report, template, wording))
    items.add(root, *_sections(report, template, presentation, wording))
    library = _library(report, template)
    if library is not None:
        items.add(root, library)
    items.add(root, _measurements(report, template, wording))
    # last, since it is for machines: which questions were asked
    items.add(root, items.text(items.key("rep.template"), template_line(report)))
    return root


def template_line(report: Report) -> str:
    """Return how the object names the template of its content; `service.sr.parse` reads it back."""
    return f"{report.template}, version {report.template_version}"


def preamble(report: Report, template: Template, wording: Wording = ENGLISH) -> tuple[ContentItem, ...]:
    """Return language, observer context and procedure reported: the same in report and companion."""
    return tuple(_preamble(report, template, wording))


def _preamble(report: Report, template: Template, wording: Wording) -> Iterable[ContentItem]:
    yield items.code(items.key("tid.language"), wording.code, items.HAS_CONCEPT_MOD)
    if report.answers_of("tid.device_uid"):
        # TID 1002 and 1004: the observer is this software; a person becomes an observer by answering
        yield items.code(items.key("tid.observer_type"), items.key("tid.device"), items.HAS_OBS_CONTEXT)
        for name in ("tid.device_uid", "tid.device_name"):
            yield from _plain(report, _item(template, name), "", items.HAS_OBS_CONTEXT)
    if report.answers_of(_PERSON):
        yield items.code(items.key("tid.observer_type"), items.key("tid.person"), items.HAS_OBS_CONTEXT)
        yield from _plain(report, _item(template, _PERSON), "", items.HAS_OBS_CONTEXT)
        for name in _person_rows(report):
            if (item := template.item(name)) is not None:
                yield from origin.answers(report, item, "", origin.Stated(), items.HAS_OBS_CONTEXT)
    yield from _plain(report, _item(template, _PROCEDURE), "", items.HAS_CONCEPT_MOD)


def _person_rows(report: Report) -> tuple[str, ...]:
    """Return the rows that identify the person beside the name (TID 1003): Not Evaluated identifies nobody, and stays in its section."""
    if not report.answers_of(_PERSON):
        return ()
    unknown = items.key(NOT_EVALUATED)
    return tuple(name for name in _PERSON_ROWS if not any(a.says(unknown) for a in report.answers_of(name)))


def observer_rows(report: Report) -> frozenset[str]:
    """Return the items that stand in the observer context of the root, and so not in their section."""
    return _OBSERVER_ROWS | frozenset(_person_rows(report))


def _item(template: Template, key: str) -> Item:
    item = template.item(key)
    if item is None:
        msg = f"template '{template.key}' has no item '{key}', which every report needs"
        raise ValueError(msg)
    return item


def _sections(
    report: Report, template: Template, presentation: Presentation, wording: Wording
) -> Iterable[ContentItem]:
    counted = completeness(report, template)
    draft = presentation.completion is CompletionFlag.PARTIAL
    how_complete = items.text(items.key("rep.completeness"), words.completeness(counted, wording))
    for section in template.sections:
        if section.key == _IMPRESSION:
            children = [*_section(report, section.items, wording), *([] if draft else [how_complete])]
            if children:
                yield items.container(section.heading, children)
    # a machine's sentence under "Impression" would be read as a radiologist's: until it is confirmed it stands here
    suggested = list(_suggested(report, template, wording))
    if draft or suggested or report.remarks:
        summary = words.summary(report, counted, draft=True, wording=wording)
        said = [items.text(items.key("hd.summary"), summary), how_complete]
        remarks = (groups.worded(items.key("rep.remark"), r, wording.note(r)) for r in report.remarks)
        yield items.container(items.key("rep.summary"), [*(said if draft else []), *suggested, *remarks])
    if draft and counted.open_items:
        where = [items.text(items.key("rep.complete_at"), presentation.complete_at)] if presentation.complete_at else []
        open_items = items.text(
            items.key("rep.to_answer"), " · ".join(wording.prompt(p, template) for p in counted.open_items)
        )
        yield items.container(items.key("rep.open_items"), [open_items, *where])
    for section in template.sections:
        if section.key == _IMPRESSION:
            continue
        children = _section(report, section.items, wording)
        if section.key == _TECHNIQUE:
            children = [*(_series_line(report, s, wording) for s in report.subjects_of(Scope.SERIES)), *children]
        if section.key == _DIFFERENTIAL:
            children = [*children, *groups.candidates(report, template)]
        if children:
            yield items.container(section.heading, children)


def _suggested(report: Report, template: Template, wording: Wording) -> Iterable[ContentItem]:
    item = template.item(IMPRESSION)
    if item is not None and not _stands(report, item):
        yield from _answers(report, item, origin.Stated(), wording, concept=items.key("rep.impression"))


def _answers(
    report: Report, item: Item, container: origin.Stated, wording: Wording, concept: Code | None = None
) -> Iterable[ContentItem]:
    """Yield the answers to an item; a text that the software wrote says that it is English where the report is not."""
    written = [a for a in report.answers_of(item.key) for _ in a.values]
    children = origin.answers(report, item, "", container, concept=concept)
    for child, answer in zip(children, written, strict=True):
        if not wording.english and str(child.ValueType) == "TEXT" and answer.provenance in _WRITTEN:
            items.add(child, items.code(items.key("tid.language"), ENGLISH.code, items.HAS_CONCEPT_MOD))
        yield child


def _stands(report: Report, item: Item) -> bool:
    """Say whether the answers to an item stand in its section: a proposed impression does not."""
    return item.key != IMPRESSION or all(a.status is Status.CONFIRMED for a in report.answers_of(item.key))


def _series_line(report: Report, subject: Subject, wording: Wording) -> ContentItem:
    name = words.series_name(subject.key)
    english, said = (
        f"{w.note(name)}{words.AFTER_SERIES}{words.series_line(report, subject, w)}" for w in (ENGLISH, wording)
    )
    return groups.worded(items.key("rep.series"), english, said)


def _section(report: Report, section: tuple[Item, ...], wording: Wording) -> list[ContentItem]:
    left_out = {_PROCEDURE, *observer_rows(report)}
    asked = [i for i in section if i.scope is Scope.REPORT and i.key not in left_out and _stands(report, i)]
    container = origin.stated(((i, a) for i in asked for a in report.answers_of(i.key)), origin.reporter(report))
    children = [child for item in asked for child in _answers(report, item, container, wording)]
    # viewers hide what hangs below an item, and a reader has to know why something was not evaluated
    why = (f"{wording.label(i)}: {a.reason}" for i in asked for a in report.answers_of(i.key) if a.reason)
    return [*origin.of_container(container), *children, *(items.text(items.key("rep.remark"), w) for w in why)]


def _library(report: Report, template: Template) -> ContentItem | None:
    """TID 1600: one group per series with what its images share (TID 1602), and the images that a measurement points at."""
    pointed = {e.sop_instance_uid: e for a in report.answers for e in a.evidence if e.segment is None and e.roi is None}
    groups = []
    for subject in report.subjects_of(Scope.SERIES):
        asked = [i for i in template if i.scope is Scope.SERIES]
        container = origin.stated(
            ((i, a) for i in asked for a in report.answers_of(i.key, subject.key)), origin.reporter(report)
        )
        rows = (origin.answers(report, i, subject.key, container, items.HAS_ACQ_CONTEXT) for i in asked)
        descriptors = [c for row in rows for c in row]
        name = items.text(items.key("rep.series"), words.series_name(subject.key), items.HAS_ACQ_CONTEXT)
        series_uid = items.uid(items.key("lib.series_uid"), subject.tracking_uid, items.HAS_ACQ_CONTEXT)
        images = [
            items.image(items.key("tid.source"), _whole(e))
            for _, e in sorted(pointed.items())
            if e.series_instance_uid == subject.tracking_uid
        ]
        group = [name, *origin.of_container(container), *descriptors, series_uid, *images]
        groups.append(items.container(items.key("tid.image_library_group"), group))
    return items.container(items.key("tid.image_library"), groups) if groups else None


def _whole(reference: Reference) -> Reference:
    return Reference(
        sop_class_uid=reference.sop_class_uid,
        sop_instance_uid=reference.sop_instance_uid,
        series_instance_uid=reference.series_instance_uid,
    )


def _measurements(report: Report, template: Template, wording: Wording) -> ContentItem:
    found = groups.groups(report, template, wording)
    if not found:
        # TID 1500 wants one of three containers; saying why there is nothing is better than an empty one
        remark = items.text(items.key("tid.comment"), wording.say(Phrase.NO_MEASUREMENT))
        return items.container(items.key("tid.qualitative_evaluations"), [remark])
    return items.container(items.key("tid.imaging_measurements"), found)


def _plain(report: Report, item: Item, subject: str, relation: Relation) -> Iterable[ContentItem]:
    """Yield the items of an identity row: its origin goes without saying."""
    for answer in report.answers_of(item.key, subject):
        for value in answer.values:
            yield items.value(item.concept, value, relation)
