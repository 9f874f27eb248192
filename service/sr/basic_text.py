"""A report as Basic Text SR (PS3.3 A.35.1), for archives that take nothing better: TID 2000 Basic Diagnostic Imaging Report (PS3.16).

Everything is text, numbers with their units too; nothing is measured, nothing points at an image, and nothing can be read back. The
document says so, since a reader must not take it for all there is. Headings are those of CID 7001: what has none there is a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from service.model.code import Code
from service.model.report import Answer, CompletionFlag, Report, Scope, Status, Subject, Uid
from service.sr import items, words
from service.sr.encode import IMPRESSION, Presentation, observer_rows
from service.sr.items import ContentItem
from service.sr.rejection import NOT_TO_BE_USED
from sr_templates import Item, Section, Template
from sr_templates.language.loader import structure_label
from sr_templates.language.values import Fill
from sr_templates.questions import completeness

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
#: CID 7000 Diagnostic Imaging Report Document Title
TITLE = Code("18748-4", "LN", "Diagnostic Imaging Report")
TEMPLATE = "2000"
RENDITION = (
    "This is a text rendition. The coded report of the same version, with its measurements and their evidence, is kept by LMS-SR: "
    "the archive that holds this document takes no such object."
)
#: keys of the headings of CID 7001 that sections of ours have
_HEADINGS = (
    "hd.clin_info",
    "hd.history",
    "hd.presentation",
    "hd.request",
    "hd.current_proc",
    "hd.prior_proc",
    "hd.prior_findings",
    "hd.findings",
    "hd.impressions",
    "hd.conclusions",
    "hd.recommendations",
    "hd.addendum",
    "hd.critical",
)
_IMPRESSION = "impression"
_PROCEDURE = "tid.procedure_reported"
#: TID 1004 and 1003: what the software and the reader are called, in the order of the rows
_DEVICE = ("tid.device_uid", "tid.device_name")
_PERSON = ("tid.person_observer_name", "tid.person_observer_org", "tid.person_role_proc")
#: what a subject is called already
_IDENTITY = "tid.tracking_id"
_BETWEEN = "; "


@dataclass(frozen=True, slots=True)
class _Line:
    """A TEXT item: its name and what it says."""

    name: Code
    text: str


def basic_text(report: Report, template: Template, presentation: Presentation) -> ContentItem:
    """Return the root container of ``report`` as text."""
    root = items.container(TITLE, relation=None, template=TEMPLATE)
    items.add(root, *_preamble(report, template))
    sections: dict[Code, list[_Line]] = {}
    for section in template.sections:
        if section.key == _IMPRESSION:
            sections.setdefault(_heading(section), []).extend(_of_report(report, section))
    sections[items.key("hd.summary")] = list(_summary(report, template, presentation))
    seen: set[Scope] = {Scope.REPORT}
    for section in template.sections:
        if section.key == _IMPRESSION:
            continue
        lines = [*_of_report(report, section), *_of_subjects(report, template, section, seen)]
        sections.setdefault(_heading(section), []).extend(lines)
    for heading, lines in sections.items():
        if lines:
            items.add(root, items.container(heading, [t for line in lines for t in _texts(line)]))
    return root


def withdrawn_text(report: Report, template: Template) -> ContentItem:
    """Return the root of the last version of a withdrawn report as text: its remarks say what happened, and nothing else stands in it."""
    root = items.container(TITLE, relation=None, template=TEMPLATE)
    said = items.text(items.key("hd.summary"), NOT_TO_BE_USED)
    remarks = (items.text(items.key("hd.summary"), r) for r in report.remarks)
    items.add(root, *_preamble(report, template), items.container(items.key("hd.summary"), [said, *remarks]))
    return root


def _preamble(report: Report, template: Template) -> Iterator[ContentItem]:
    """Yield language, observer context and procedure reported, bare: where an answer came from has no place in a text rendition."""
    yield items.code(items.key("tid.language"), items.key("tid.language.en_us"), items.HAS_CONCEPT_MOD)
    for kind, keys in (("tid.device", _DEVICE), ("tid.person", _PERSON)):
        identifying = (i for i in _items(template, keys) if i.key in observer_rows(report))
        rows = [(i.concept, v) for i in identifying for a in report.answers_of(i.key) for v in a.values]
        if report.answers_of(keys[0]):
            yield items.code(items.key("tid.observer_type"), items.key(kind), items.HAS_OBS_CONTEXT)
            yield from (items.value(concept, value, items.HAS_OBS_CONTEXT) for concept, value in rows)
    for item in _items(template, (_PROCEDURE,)):
        for answer in report.answers_of(item.key):
            yield from (items.value(item.concept, v, items.HAS_CONCEPT_MOD) for v in answer.values)


def _items(template: Template, keys: Iterable[str]) -> Iterator[Item]:
    return (item for key in keys if (item := template.item(key)) is not None)


def _heading(section: Section) -> Code:
    standard = any(section.heading.same(items.key(k)) for k in _HEADINGS)
    return section.heading if standard else items.key("hd.findings")


def _texts(line: _Line) -> Iterator[ContentItem]:
    """Yield a line, in parts where it is longer than a text item of ours may be."""
    rest = line.text
    while rest:
        cut = len(rest) if len(rest) <= items.MAX_TEXT else rest.rfind(_BETWEEN, 1, items.MAX_TEXT)
        # a text without a place to part it is parted anywhere
        cut = cut if cut > 0 else items.MAX_TEXT
        yield items.text(line.name, rest[:cut])
        rest = rest[cut:].removeprefix(_BETWEEN)


def _summary(report: Report, template: Template, presentation: Presentation) -> Iterator[_Line]:
    counted = completeness(report, template)
    draft = presentation.completion is CompletionFlag.PARTIAL
    yield _Line(items.key("rep.remark"), RENDITION)
    if draft:
        yield _Line(items.key("rep.summary"), words.summary(report, counted, draft=True))
    yield _Line(items.key("rep.completeness"), words.completeness(counted))
    for answer in report.answers_of(IMPRESSION):
        # a machine's sentence under "Impressions" would be read as a radiologist's
        if answer.status is not Status.CONFIRMED:
            yield _Line(items.key("rep.impression"), _said(answer))
    if draft and counted.open_items:
        yield _Line(items.key("rep.to_answer"), " · ".join(counted.open_items))
        if presentation.complete_at:
            yield _Line(items.key("rep.complete_at"), presentation.complete_at)
    yield from (_Line(items.key("rep.remark"), r) for r in report.remarks)


# --- answers -------------------------------------------------------------------------------------------------------------


def _of_report(report: Report, section: Section) -> Iterator[_Line]:
    """Yield the answers of a section: a line each, or together in a line that is named by the section where it is no heading here."""
    # what identifies device and person stands in front
    in_front = {_PROCEDURE, *observer_rows(report)}
    asked = [i for i in section.items if i.scope is Scope.REPORT and i.key not in in_front]
    found = [(i, a) for i in asked for a in report.answers_of(i.key) if _is_said(i, a)]
    if _heading(section) == section.heading:
        yield from (_Line(i.concept, _said(a)) for i, a in found)
    elif said := _BETWEEN.join(_labelled(i, a) for i, a in found):
        yield _Line(section.heading, said)


def _of_subjects(report: Report, template: Template, section: Section, seen: set[Scope]) -> Iterator[_Line]:
    """Yield a line for each series, lesion and structure, where the template first asks about its kind."""
    for scope in dict.fromkeys(i.scope for i in section.items):
        if scope in seen:
            continue
        seen.add(scope)
        asked = tuple(i for i in template if i.scope is scope and i.fill is not Fill.ROW)
        for subject in report.subjects_of(scope):
            if scope is Scope.SERIES:
                yield _Line(items.key("rep.series"), _of_series(report, subject, asked))
            else:
                yield _Line(section.heading, _of_subject(report, subject, asked))


def _of_series(report: Report, subject: Subject, asked: Iterable[Item]) -> str:
    line = words.series_line(report, subject) or subject.key
    stated = words.stated_of_series(asked)
    said = [_labelled(i, a) for i in stated for a in report.answers_of(i.key, subject.key) if _is_said(i, a)]
    return _BETWEEN.join([line, *said])


def _of_subject(report: Report, subject: Subject, asked: Iterable[Item]) -> str:
    name = words.lesion_label(report, subject) if subject.scope is Scope.LESION else _structure(subject)
    said = [
        _labelled(i, a)
        for i in asked
        for a in report.answers_of(i.key, subject.key)
        if i.key != _IDENTITY and _is_said(i, a)
    ]
    parts = _BETWEEN.join([*said, *subject.remarks])
    return f"{name}: {parts}" if parts else name


def _structure(subject: Subject) -> str:
    if subject.structure is None:
        return subject.key
    side = subject.side.meaning if subject.side is not None else ""
    name = structure_label(subject.structure, side)
    return f"{subject.key}, {name}" if subject.scope is Scope.NODE else name


def _is_said(item: Item, answer: Answer) -> bool:
    """Say whether people read an answer: UIDs are for machines, and a proposed impression stands in the summary."""
    if item.key == IMPRESSION and answer.status is not Status.CONFIRMED:
        return False
    return not all(isinstance(v, Uid) for v in answer.values)


def _labelled(item: Item, answer: Answer) -> str:
    derivation = f" ({answer.derivation.meaning})" if answer.derivation is not None else ""
    return f"{item.label}{derivation}: {_said(answer)}"


def _said(answer: Answer) -> str:
    """Return the values in words, why there is none, and how far to trust them."""
    said = ", ".join(words.value(v) for v in answer.values)
    reason = f" ({answer.reason})" if answer.reason else ""
    return f"{said}{reason} {words.mark(answer)}".strip()
