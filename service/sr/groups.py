"""Measurement groups: one for each lesion, vessel, organ, node and metastasis (TID 1411 with a segment or an ROI, else TID 1501)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from service import __version__
from service.model.code import Code
from service.model.report import Provenance, Quantity, Report, Scope, Status, Subject
from service.sr import items, origin, words
from service.sr.items import ContentItem
from service.sr.phrases import ENGLISH, Phrase, Wording
from sr_templates import Item, Template
from sr_templates.language.loader import NOT_EVALUATED
from sr_templates.language.values import Fill

#: answers that a group's rows carry
IDENTITY = ("tid.tracking_id", "tid.tracking_uid")
SITE, SIDE = "tid.finding_site", "tid.laterality"
#: CID 244 Laterality, which is not extensible
_SIDES = ("v.right", "v.left", "v.bilateral", "v.unilateral")
#: TID 1419 row 1: of all measurements of the group, so a modifier of it
METHOD = "tid.method"
#: scopes that a group is written for, in reading order
SCOPES = (Scope.LESION, Scope.VESSEL, Scope.ORGAN, Scope.NODE, Scope.METASTASIS)
#: those that are measured again at a later examination; a site of metastasis is a row, its lesions have groups of their own
FOLLOWED = frozenset({Scope.LESION, Scope.NODE})
#: finding of a structure's group, where the structure itself is none
_FINDINGS: Mapping[Scope, str] = MappingProxyType({Scope.NODE: "ln.node", Scope.METASTASIS: "met"})
#: what a reader, and `service.sr.parse`, knows a structure's group by
STRUCTURES: Mapping[Scope, Phrase] = MappingProxyType(
    {
        Scope.VESSEL: Phrase.VESSEL,
        Scope.ORGAN: Phrase.ORGAN,
        Scope.NODE: Phrase.NODE,
        Scope.METASTASIS: Phrase.METASTASIS,
    }
)
_ALGORITHM = "LMS-SR measure"


def numbered_key(scope: Scope, number: int) -> str:
    """Return the key of the ``number``-th lesion or node of a report, counted from 1, where its group does not give another."""
    return f"LMS-LN{number}" if scope is Scope.NODE else f"LMS-T{number}"


def groups(report: Report, template: Template, wording: Wording = ENGLISH) -> list[ContentItem]:
    """Return what stands below Imaging Measurements: what its groups share, then the groups in reading order."""
    asked = {
        s: [i for i in template if i.scope is s and i.key not in IDENTITY and i.fill is not Fill.ROW] for s in SCOPES
    }
    subjects = [
        (numbered_key(s, n), subject) for s in SCOPES for n, subject in enumerate(report.subjects_of(s), start=1)
    ]
    reporter = origin.reporter(report)
    stated = [
        origin.stated(((i, a) for i in asked[s.scope] for a in report.answers_of(i.key, s.key)), reporter)
        for _, s in subjects
    ]
    shared = origin.shared(stated)
    found = origin.of_container(shared)
    for (expected_key, subject), own in zip(subjects, stated, strict=True):
        rows = asked[subject.scope]
        same = own == shared
        # whom the container of all groups states, a group inherits, whoever stands at the root
        own = replace(own, inherited=shared.observer)  # noqa: PLW2901 - the same statement, seen from where it stands
        found.append(_group(report, rows, subject, expected_key, own, wording, written=not same))
    return found


def _group(
    report: Report,
    asked: list[Item],
    subject: Subject,
    expected_key: str,
    container: origin.Stated,
    wording: Wording,
    *,
    written: bool,
) -> ContentItem:
    """Return a group: comment in words first, since viewers hide what hangs below an item; then the rows; UIDs where they must be.

    ``container`` is what the group states for its answers, ``written`` whether it has to, since the container of all groups does not.
    """
    children: list[ContentItem] = [
        *_comment(report, subject, asked, wording),
        items.text(items.key("tid.tracking_id"), subject.tracking_id, items.HAS_OBS_CONTEXT),
        items.uid(items.key("tid.tracking_uid"), subject.tracking_uid, items.HAS_OBS_CONTEXT),
        *_time_point(report, subject),
    ]
    if subject.scope in {Scope.LESION, Scope.NODE} and subject.key != expected_key:
        children.append(items.text(items.key("tid.identifier"), subject.key, items.HAS_OBS_CONTEXT))
    children.extend(_algorithm(report, subject))
    children.extend(origin.of_container(container) if written else ())
    children.extend(worded(items.key("rep.remark"), r, wording.note(r)) for r in subject.remarks)
    children.extend(_structure(subject, wording))
    for item in asked:
        if item.key == SITE:
            children.extend(_place(report, asked, subject, container))
        elif item.key != SIDE or subject.scope is not Scope.LESION:
            relation = items.HAS_CONCEPT_MOD if item.key == METHOD else items.CONTAINS
            children.extend(origin.answers(report, item, subject.key, container, relation))
    if subject.segment is not None and subject.segment.roi is not None:
        children.append(items.region(subject.segment))
    elif subject.segment is not None:
        children.append(items.image(items.key("tid.referenced_segment"), subject.segment))
        if source := _source_series(report, subject):
            children.append(items.uid(items.key("tid.source_series_seg"), source))
    template_id = "1411" if subject.segment is not None else "1501"
    return items.container(items.key("tid.measurement_group"), children, template=template_id)


def _comment(report: Report, subject: Subject, asked: list[Item], wording: Wording) -> Iterable[ContentItem]:
    """Yield a group in words; not that of a structure whose rows say the same words, with nothing below them that viewers hide."""
    if subject.scope is Scope.LESION:
        yield items.text(items.key("tid.comment"), words.lesion_comment(report, subject, wording))
        return
    answers = [a for i in asked for a in report.answers_of(i.key, subject.key)]
    contoured = subject.segment is not None and subject.segment.roi is not None
    if contoured or not wording.english or any(a.reason or a.status is Status.PROPOSED for a in answers):
        yield items.text(items.key("tid.comment"), words.structure_comment(report, subject, asked, wording))


def _time_point(report: Report, subject: Subject) -> Iterable[ContentItem]:
    """Yield TID 1502 for what is followed over time: the examination, and what a person said of its place in the course of the disease.

    The order of the time point stands in its section once, as everything does that is said of the examination and not of the finding.
    """
    when = next((words.value(v) for a in report.answers_of("tid.study_date") for v in a.values), "")
    if not when or subject.scope not in FOLLOWED:
        return
    yield items.text(items.key("tid.time_point"), when, items.HAS_OBS_CONTEXT)
    kind = next((v for a in report.answers_of("tid.tp_type") for v in a.values), None)
    if isinstance(kind, Code) and not kind.same(items.key(NOT_EVALUATED)):
        yield items.code(items.key("tid.tp_type"), kind, items.HAS_OBS_CONTEXT)


def _algorithm(report: Report, subject: Subject) -> Iterable[ContentItem]:
    """Yield TID 4019 where numbers of the group were computed by this software."""
    computed = any(
        a.provenance is Provenance.SEGMENTATION and any(isinstance(v, Quantity) for v in a.values)
        for a in report.answers
        if a.subject == subject.key
    )
    if computed:
        yield items.text(items.key("tid.alg_name"), _ALGORITHM, items.HAS_CONCEPT_MOD)
        yield items.text(items.key("tid.alg_version"), __version__, items.HAS_CONCEPT_MOD)


def worded(name: Code, english: str, said: str) -> ContentItem:
    """Return a text in the language of the report, its English below it where it differs: that is what is read back."""
    item = items.text(name, said)
    if said != english:
        items.add(item, items.text(items.key("rep.original"), english, items.HAS_CONCEPT_MOD))
    return item


def _structure(subject: Subject, wording: Wording) -> Iterable[ContentItem]:
    """Yield what a structure's group is about: kind, finding, Finding Site with its laterality below."""
    if subject.structure is None or subject.scope not in STRUCTURES:
        return
    kind = STRUCTURES[subject.scope]
    yield worded(items.key("rep.structure"), kind.value, wording.say(kind))
    if finding := _FINDINGS.get(subject.scope):
        yield items.code(items.key("tid.finding"), items.key(finding))
    site = items.code(items.key(SITE), subject.structure, items.HAS_CONCEPT_MOD)
    if subject.side is not None:
        items.add(site, items.code(items.key(SIDE), subject.side, items.HAS_CONCEPT_MOD))
    yield site


def _source_series(report: Report, subject: Subject) -> str:
    """Return the series that the segment was drawn on: of a lesion, that of the images which its measurements point at."""
    if subject.scope in STRUCTURES:
        return subject.source_series
    pointed = [
        e.series_instance_uid
        for a in report.answers
        if a.subject == subject.key
        for e in a.evidence
        if e.segment is None and e.roi is None
    ]
    return pointed[0] if pointed else ""


def _place(report: Report, asked: Iterable[Item], subject: Subject, container: origin.Stated) -> Iterable[ContentItem]:
    """Yield Finding Site with its laterality below; a side without a site stands by itself, so that it is not lost.

    So does what CID 244 has not, which is all that may stand below (TID 1419): Midline, and that it was not evaluated.
    """
    by_key = {i.key: i for i in asked}
    if not {SITE, SIDE} <= by_key.keys():
        msg = f"the template has no item '{SITE}' or '{SIDE}' about a {subject.scope.value}, which its group needs"
        raise ValueError(msg)
    site, side = by_key[SITE], by_key[SIDE]
    sites = list(origin.answers(report, site, subject.key, container, items.HAS_CONCEPT_MOD))
    known = {items.key(name) for name in _SIDES}
    below = bool(sites) and all(v in known for a in report.answers_of(SIDE, subject.key) for v in a.values)
    relation = items.HAS_CONCEPT_MOD if below else items.CONTAINS
    sides = list(origin.answers(report, side, subject.key, container, relation))
    if below:
        items.add(sites[0], *sides)
        return sites
    return [*sites, *sides]


def candidates(report: Report, template: Template) -> list[ContentItem]:
    """Return one container for each candidate that the radiologist named."""
    name = items.key("dd")
    asked = [i for i in template if i.scope is Scope.CANDIDATE and i.fill is not Fill.ROW]
    found = []
    for subject in report.subjects_of(Scope.CANDIDATE):
        if subject.structure is None:
            continue
        about = ((i, a) for i in asked for a in report.answers_of(i.key, subject.key))
        container = origin.stated(about, origin.reporter(report))
        children = [items.code(name, subject.structure), *origin.of_container(container)]
        children += [c for i in asked for c in origin.answers(report, i, subject.key, container)]
        found.append(items.container(name, children))
    return found
