"""Facts to a draft: what the headers, the segmentations and the registry say becomes a `Report`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from service.flow import technique
from service.flow.context import Context, Device
from service.flow.prefill import MODALITIES, SOURCES, several_lesions, tracking_uid
from service.model.age import age_at, sex_of
from service.model.measurement import SegmentMeasurements
from service.model.prior import PriorReport
from service.model.report import Answer, Report, Scope, Subject
from service.model.study import Series, Study
from sr_templates import Item, Template

#: ``SegmentMeasurements.role`` of a segment that is taken for the tumour
TUMOUR = "tumour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a draft is made of."""

    study: Study
    device: Device
    segments: tuple[SegmentMeasurements, ...] = ()
    prior: PriorReport | None = None
    #: remarks from earlier steps, for the first screen ("completed by force …")
    remarks: tuple[str, ...] = ()


def compose(facts: Facts, template: Template) -> Report:
    """Return the draft that ``facts`` support; items that nothing supports stay open.

    The result depends on the facts alone: not on their order, the time, or the version of this software.
    """
    tumours = tuple(s for s in facts.segments if s.role == TUMOUR)
    series = _series_subjects(facts.study)
    lesions = _lesion_subjects(facts.study, tumours)
    base = Context(study=facts.study, device=facts.device, prior=facts.prior, tumours=tumours)
    answers: list[Answer] = []
    for item in template:
        if not item.applies_to(facts.study.modalities):
            continue
        answers.extend(_fill(item, base, series, lesions))
    return Report(
        template=template.key,
        template_version=template.version,
        study_instance_uid=facts.study.study_instance_uid,
        modalities=tuple(m for m in facts.study.modalities if m in MODALITIES),
        patient_sex=sex_of(facts.study.patient.sex),
        patient_age=age_at(facts.study.patient.birth_date, facts.study.date),
        subjects=(*(s for s, _ in series), *(s for s, _ in lesions)),
        answers=tuple(answers),
        remarks=(*facts.remarks, *_remarks(facts, tumours)),
    )


def _fill(
    item: Item,
    base: Context,
    series: tuple[tuple[Subject, Series], ...],
    lesions: tuple[tuple[Subject, SegmentMeasurements], ...],
) -> Iterable[Answer]:
    contexts: tuple[Context, ...] = ()
    if item.scope is Scope.REPORT:
        contexts = (base,)
    elif item.scope is Scope.SERIES:
        contexts = tuple(replace(base, subject=subject, series=one) for subject, one in series)
    elif item.scope is Scope.LESION:
        contexts = tuple(replace(base, subject=subject, segment=segment) for subject, segment in lesions)
    for context in contexts:
        for name in item.prefill:
            if found := SOURCES[name](context, item):
                yield from found
                break


def _series_subjects(study: Study) -> tuple[tuple[Subject, Series], ...]:
    result: list[tuple[Subject, Series]] = []
    used: set[str] = set()
    for position, series in enumerate(study.images, start=1):
        name = f"Series {series.number}" if series.number is not None else f"Series without number {position}"
        key, again = name, 1
        while key in used:
            again += 1
            key = f"{name} ({again})"
        used.add(key)
        subject = Subject(
            key=key, scope=Scope.SERIES, tracking_id=technique.line_of(series), tracking_uid=series.series_instance_uid
        )
        result.append((subject, series))
    return tuple(result)


def _lesion_subjects(
    study: Study, tumours: tuple[SegmentMeasurements, ...]
) -> tuple[tuple[Subject, SegmentMeasurements], ...]:
    result: list[tuple[Subject, SegmentMeasurements]] = []
    for number, segment in enumerate(tumours, start=1):
        key = f"LMS-T{number}"
        subject = Subject(
            key=key,
            scope=Scope.LESION,
            # the side is a proposal until somebody confirms it, so it does not become part of a name that lasts
            tracking_id=segment.tracking_id[:64] or key,
            tracking_uid=segment.tracking_uid or tracking_uid(study, key),
            segment=segment.source,
            remarks=(*segment.remarks, *segment.refusals),
        )
        result.append((subject, segment))
    return tuple(result)


def _remarks(facts: Facts, tumours: tuple[SegmentMeasurements, ...]) -> tuple[str, ...]:
    remarks = list(facts.study.problems)
    if len(tumours) > 1 and several_lesions(tumours) == 1:
        remarks.append(
            f"{len(tumours)} segmentations of a tumour on different series; whether they show one lesion is for the radiologist to say"
        )
    if facts.segments and not tumours:
        remarks.append("A segmentation is in the study, but none of its segments is marked as a tumour")
    return tuple(remarks)
