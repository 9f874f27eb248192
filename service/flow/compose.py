"""Facts to a draft: what the headers, the segmentations and the registry say becomes a `Report`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from service.flow import matching, technique
from service.flow.context import Context, Device
from service.flow.lesions import Lesion, beside, key_of, lesions_of, marks_of
from service.flow.prefill import MODALITIES, SOURCES, several_lesions, tracking_uid
from service.flow.related import Related, related_structures
from service.model.age import age_at, sex_of
from service.model.measurement import RegionKind, SegmentMeasurements
from service.model.prior import Match, PriorReport
from service.model.report import Answer, Report, Scope, Subject
from service.model.study import Series, Study
from service.settings import Clinical
from sr_templates import Item, Template
from sr_templates.evaluate import DEFAULTS

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
    #: thresholds of proposals
    clinical: Clinical = DEFAULTS


def compose(facts: Facts, template: Template) -> Report:
    """Return the draft that ``facts`` support; items that nothing supports stay open.

    The result depends on the facts alone: not on their order, the time, or the version of this software.
    """
    tumours = _tumours(facts.segments)
    series = _series_subjects(facts.study)
    found = lesions_of(tumours)
    lesions = _lesion_subjects(facts.study, found)
    measured = tuple((subject, lesion.primary) for subject, lesion in lesions)
    structures = related_structures(facts.study, template, measured, facts.clinical)
    base = Context(
        study=facts.study,
        device=facts.device,
        prior=facts.prior,
        tumours=tumours,
        matches=_matches(facts, lesions),
        relations=tuple(s.relation for s in structures.related),
        clinical=facts.clinical,
    )
    answers: list[Answer] = []
    for item in template:
        if not item.applies_to(facts.study.modalities):
            continue
        answers.extend(_fill(item, base, series, lesions, structures.related))
    said = {a.subject for a in answers}
    return Report(
        template=template.key,
        template_version=template.version,
        study_instance_uid=facts.study.study_instance_uid,
        modalities=tuple(m for m in facts.study.modalities if m in MODALITIES),
        patient_sex=sex_of(facts.study.patient.sex),
        patient_age=age_at(facts.study.patient.birth_date, facts.study.date),
        subjects=(
            *(s for s, _ in series),
            *(s for s, _ in lesions),
            # a structure stands only when something is said about it, or why nothing is
            *(r.subject for r in structures.related if r.subject.key in said or r.subject.remarks),
        ),
        answers=tuple(answers),
        remarks=(*facts.remarks, *_remarks(facts, tumours, len(found)), *structures.remarks),
    )


def _matches(facts: Facts, lesions: tuple[tuple[Subject, Lesion], ...]) -> tuple[Match, ...]:
    """Return which lesions may be which of earlier time points."""
    if facts.prior is None:
        return ()
    subjects = tuple(s for s, _ in lesions)
    here = matching.landmarks(facts.study, facts.segments)
    now = matching.places(subjects, facts.study, facts.segments)
    return matching.suggest(now, here, subjects, facts.prior, matching.tracked(facts.prior))


def _fill(
    item: Item,
    base: Context,
    series: tuple[tuple[Subject, Series], ...],
    lesions: tuple[tuple[Subject, Lesion], ...],
    structures: tuple[Related, ...],
) -> Iterable[Answer]:
    contexts: tuple[Context, ...] = ()
    if item.scope is Scope.REPORT:
        contexts = (base,)
    elif item.scope is Scope.SERIES:
        contexts = tuple(replace(base, subject=subject, series=one) for subject, one in series)
    elif item.scope is Scope.LESION:
        contexts = tuple(
            replace(base, subject=subject, segment=one.primary, further=one.further) for subject, one in lesions
        )
    else:
        contexts = tuple(
            replace(base, subject=one.subject, relation=one.relation)
            for one in structures
            if one.subject.scope is item.scope and (not item.rows or one.subject.key in item.rows)
        )
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


def _lesion_subjects(study: Study, lesions: tuple[Lesion, ...]) -> tuple[tuple[Subject, Lesion], ...]:
    result: list[tuple[Subject, Lesion]] = []
    for number, lesion in enumerate(lesions, start=1):
        key, segment = key_of(number), lesion.primary
        subject = Subject(
            key=key,
            scope=Scope.LESION,
            # the side is a proposal until somebody confirms it, so it does not become part of a name that lasts
            tracking_id=lesion.tracking_id[:64] or key,
            tracking_uid=lesion.tracking_uid or tracking_uid(study, key),
            # a line is drawn with the number that it gives
            segment=segment.source if segment.kind is not RegionKind.LINE else None,
            remarks=tuple(dict.fromkeys((*segment.remarks, *segment.refusals, *beside(lesion, study)))),
        )
        result.append((subject, lesion))
    return tuple(result)


def _remarks(facts: Facts, tumours: tuple[SegmentMeasurements, ...], lesions: int) -> tuple[str, ...]:
    remarks = list(facts.study.problems)
    if lesions > 1 and several_lesions(tumours) == 1:
        remarks.append(
            f"{lesions} segmentations of a tumour on different series; whether they show one lesion is for the radiologist to say"
        )
    remarks.extend(_unsure(s) for s in facts.segments if not s.role and s.role_basis and s not in tumours)
    remarks.extend(_line(s) for s in facts.segments if s.kind is RegionKind.LINE and not s.role and s not in tumours)
    if facts.segments and not tumours:
        remarks.append("A segmentation is in the study, but none of its segments is marked as a tumour")
    return tuple(remarks)


def _tumours(segments: tuple[SegmentMeasurements, ...]) -> tuple[SegmentMeasurements, ...]:
    return tuple(s for s in segments if s.role == TUMOUR or _lies_in_tumour(s, segments))


def marks(segments: tuple[SegmentMeasurements, ...]) -> dict[tuple[str, int], str]:
    """Return which lesion of the draft each segment of ``segments`` is a mark of: by SOP Instance UID and number."""
    return marks_of(lesions_of(_tumours(segments)))


def _lies_in_tumour(one: SegmentMeasurements, segments: tuple[SegmentMeasurements, ...]) -> bool:
    """Say whether a line that nobody named lies in what is marked as a tumour."""
    if one.kind is not RegionKind.LINE or one.role:
        return False
    return any(
        s.role == TUMOUR and s.kind is not RegionKind.LINE and (s.source.sop_instance_uid, s.segment) in one.overlaps
        for s in segments
    )


def _unsure(one: SegmentMeasurements) -> str:
    """Offer a mark of which it is not certain what it shows."""
    return (
        f"{one.kind.value.capitalize() if one.kind is RegionKind.SEGMENT else one.kind.value} {one.segment} '{one.label}' "
        f"was not measured: {one.role_basis}; what it shows is for the radiologist to say"
    )


def _line(one: SegmentMeasurements) -> str:
    """Offer a line of which nobody said what it measures."""
    lengths = " and ".join(f"{m.value:.1f} mm" for m in one.measurements)
    called = f" '{one.label}'" if one.label else ""
    said = "; ".join((*([lengths] if lengths else []), *one.remarks, *one.refusals))
    return f"Line {one.segment}{called} of a presentation state: {said}; what it measures is for the radiologist to say"
