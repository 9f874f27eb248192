"""The studies of a folder beside each other: each is compared with all earlier ones of its patient, as the service does it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from service.errors import InputError
from service.flow import matching, timepoint
from service.flow.comparability import with_mismatches
from service.flow.compose import Facts, compose, marks
from service.flow.declared import (
    BASELINE,
    NOTHING,
    RESPONSE,
    Declared,
    Said,
    identified,
    identified_point,
    understand,
)
from service.flow.derivations.timeline import day
from service.flow.derive import derive
from service.flow.lesion_course import lesion_over_time
from service.flow.produce import Options, device, produce, spacings
from service.flow.response_course import response_over_time
from service.flow.taking import Look as TakenFrom
from service.flow.taking import Returned, take
from service.flow.timepoint import Documents
from service.model.comparison import Compared, StudyOverTime, TakenIn
from service.model.measurement import RegionKind, SegmentMeasurements
from service.model.prior import PriorReport
from service.model.report import Provenance, Quantity, Report, Scope
from service.model.study import Study
from service.settings import Clinical, Measuring
from sr_templates import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """A study of the folder, read and measured."""

    #: without the objects of ours
    study: Study
    measured: tuple[SegmentMeasurements, ...]
    documents: Documents
    #: what was left out of it so far, and why
    left_out: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        """Return its Study Instance UID."""
        return self.study.study_instance_uid


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    """A study and the earlier ones that it is compared with."""

    exam: Examination
    #: the newest first
    points: tuple[PriorReport, ...]
    not_compared: tuple[str, ...]
    template: Template
    report: Report

    @property
    def prior(self) -> PriorReport | None:
        return timepoint.chain(self.points)


def compare(
    exams: Sequence[Examination],
    options: Options,
    *,
    clinical: Clinical,
    measuring: Measuring,
    declared: Declared = NOTHING,
) -> tuple[StudyOverTime, ...]:
    """Return every study beside the earlier ones of its patient, patient by patient, the oldest first.

    Parameters
    ----------
    exams:
        The studies, each once.
    options:
        The installation, for the UIDs of what is put together.
    clinical, measuring:
        Thresholds.
    declared:
        What a person says for this comparison; it is about one patient.

    Raises
    ------
    InputError
        Something was said, and the folder has no patient, or several, that it could be said of; or a lesion is not there.
    TemplateError
        A template cannot be loaded.
    """
    ordered = sorted(exams, key=_when)
    if declared != NOTHING:
        _must_be_one_patient(ordered)
    alone = {e.uid for e in ordered if not _others(e, ordered) and not (e.documents.own or e.documents.others)}
    points = {
        e.uid: timepoint.time_point(e.study, _marked(e.measured), e.documents, device(options))
        for e in ordered
        if e.uid not in alone and _others(e, ordered)
    }
    found = {
        e.uid: _beside(e, ordered, points, options, clinical, measuring, evaluates=bool(declared.targets))
        for e in ordered
        if e.uid not in alone
    }
    newest = next((e.uid for e in reversed(ordered) if _identified(e.study)), "")
    if declared != NOTHING and not (newest in found and found[newest].points):
        msg = f"study {newest} is compared with no earlier one: what is said of targets and new lesions needs one in the folder"
        raise InputError(msg)
    said = understand(declared, found[newest].report if newest in found else None, _reports(found.values()))
    return tuple(
        _told(found[e.uid], said, options, clinical, measuring, newest=e.uid == newest)
        if e.uid in found
        else StudyOverTime(
            study_instance_uid=e.uid,
            study_date=e.study.date,
            not_compared=_why_alone(e),
            remarks=e.study.problems,
            left_out=e.left_out,
        )
        for e in ordered
    )


# --- which study is earlier ----------------------------------------------------------------------------------------------


def _when(exam: Examination) -> tuple[str, ...]:
    study = exam.study
    return (study.patient.patient_id, study.patient.issuer, study.date, study.time, exam.uid)


def _identified(study: Study) -> bool:
    return bool(study.patient.patient_id and study.date)


def _same_patient(one: Study, other: Study) -> bool:
    return (one.patient.patient_id, one.patient.issuer) == (other.patient.patient_id, other.patient.issuer)


def _others(exam: Examination, exams: Iterable[Examination]) -> list[Examination]:
    """Return the other studies of a patient with which a study can be compared, or that can be compared with it."""
    here = exam.study
    if not _identified(here):
        return []
    return [e for e in exams if e.uid != exam.uid and _identified(e.study) and _same_patient(e.study, here)]


def _why_alone(exam: Examination) -> tuple[str, ...]:
    if not exam.study.patient.patient_id:
        return ("it has no Patient ID: whose earlier studies it could be compared with is not known",)
    if not exam.study.date:
        return ("it has no Study Date: which studies are earlier is not known",)
    return ("it is the only study of its patient in this folder",)


def _must_be_one_patient(exams: Iterable[Examination]) -> None:
    patients = {(e.study.patient.patient_id, e.study.patient.issuer) for e in exams if _identified(e.study)}
    if len(patients) == 1:
        return
    if patients:
        msg = f"the folder holds studies of {len(patients)} patients: what is said of lesions is said of one; give a folder of one patient"
    else:
        msg = "no study of this folder has a Patient ID and a Study Date: nothing can be compared"
    raise InputError(msg)


def _beside(
    exam: Examination,
    exams: Sequence[Examination],
    points: Mapping[str, PriorReport | None],
    options: Options,
    clinical: Clinical,
    measuring: Measuring,
    *,
    evaluates: bool,
) -> _Beside:
    """Return a study with the earlier ones, compared; ``evaluates``: a person named targets, so that a response is asked for."""
    earlier: list[PriorReport] = []
    reasons: list[str] = []
    others = _others(exam, exams)
    for other in reversed(others):
        named = f"the study of {day(other.study.date)}"
        if other.study.date > exam.study.date:
            continue
        try:
            timepoint.must_be_earlier(exam.study, other.study)
            _must_name_one(exam.study)
        except InputError as error:
            reasons.append(f"{named}: {error}")
            continue
        if other.study.date == exam.study.date and not _known_order(other.study, exam.study):
            reasons.append(f"{named}: it is of the same day, and no Study Time says which is the earlier one")
            continue
        if _when(other) > _when(exam):
            continue
        point = points[other.uid]
        if point is None:
            reasons.append(f"{named}: nothing in it can be compared")
        else:
            earlier.append(point)
    if not others:
        reasons += _why_alone(exam)
    own = exam.documents.own
    name = RESPONSE if earlier else BASELINE
    if own is not None and own.counts and not (earlier and evaluates):
        name = own.edited.report.template
    produced = produce(
        exam.study,
        _marked(exam.measured),
        timepoint.chain(earlier),
        replace(options, template=name),
        returned=exam.documents.returned(),
        clinical=clinical,
        measuring=measuring,
    )
    return _Beside(
        exam=exam,
        points=tuple(earlier),
        not_compared=tuple(reasons),
        template=produced.template,
        report=produced.report,
    )


def _must_name_one(study: Study) -> None:
    if len({p for p, _ in study.patient_ids}) > 1:
        msg = "the objects of the later study name more than one patient"
        raise InputError(msg)


def _known_order(one: Study, other: Study) -> bool:
    return bool(one.time and other.time and one.time != other.time)


def _marked(measured: Iterable[SegmentMeasurements]) -> tuple[SegmentMeasurements, ...]:
    """Return the marks that a report is made of: what nobody knows was measured here all the same, and a report would deny it."""
    return tuple(m for m in measured if m.role or m.kind is RegionKind.LINE or not m.role_basis)


def _reports(found: Iterable[_Beside]) -> Iterator[Report]:
    for one in found:
        yield one.report
        yield from (p.report for p in one.points if p.report is not None)


# --- what is told of a study -----------------------------------------------------------------------------------------------


def _told(
    one: _Beside, said: Said, options: Options, clinical: Clinical, measuring: Measuring, *, newest: bool
) -> StudyOverTime:
    asked_before = set(matching.questions(one.report, one.prior))
    points = tuple(identified_point(p, said) for p in one.points)
    prior = timepoint.chain(points)
    report = derive(identified(one.report, said), one.template, clinical, prior=prior)
    report = with_mismatches(report, one.template, clinical, prior)
    response = None
    if points:
        response = response_over_time(report, points, one.template, said, clinical, newest=newest)
    taken_in, not_taken = _taken_in(one, options, measuring)
    return StudyOverTime(
        study_instance_uid=one.exam.uid,
        study_date=one.exam.study.date,
        compared_with=tuple(_compared(p) for p in points),
        not_compared=one.not_compared,
        lesions=tuple(
            lesion_over_time(report, s.key, one.template, clinical, prior) for s in report.subjects_of(Scope.LESION)
        ),
        taken_in=taken_in,
        response=response,
        questions=matching.questions(report, prior),
        remarks=tuple(r for r in report.remarks if r not in asked_before),
        left_out=(*one.exam.left_out, *_unread(one.exam.documents), *not_taken),
    )


def _compared(point: PriorReport) -> Compared:
    signed = "signed report" if point.signed else "report, not signed"
    by = f"{signed}, version {point.version}" if point.reported else "measurements, no report of ours"
    return Compared(study_instance_uid=point.study_instance_uid, study_date=point.study_date, by=by)


def _unread(found: Documents) -> Iterator[str]:
    for instance, error in found.unread:
        yield f"{instance.path}, a structured report: {error}"
    for one in found.others:
        refusals = one.foreign.refusals if one.foreign is not None else ()
        places: Counter[str] = Counter(r.reason for r in refusals)
        for reason, count in places.items():
            yield f"structured report {one.reference.sop_instance_uid}: {reason}{f' ({count} times)' if count > 1 else ''}"


def _taken_in(one: _Beside, options: Options, measuring: Measuring) -> tuple[tuple[TakenIn, ...], tuple[str, ...]]:
    """Return the numbers that reports of others give, each with its report, and which of those give none."""
    exam, template = one.exam, one.template
    if not exam.documents.others:
        return (), ()
    segments = _marked(exam.measured)
    drawn = compose(Facts(study=exam.study, device=device(options), segments=segments), template)
    # a number that agrees with ours is taken in too
    plain = replace(drawn, answers=tuple(a for a in drawn.answers if a.provenance is not Provenance.SEGMENTATION))
    look = TakenFrom(marks=marks(segments), spacings=spacings(exam.study), measuring=measuring)
    numbers: list[TakenIn] = []
    nothing: list[str] = []
    for other in exam.documents.others:
        report = take(plain, (other,), template, look).report
        found = list(_numbers(report, plain, other, template))
        numbers += found
        if not found:
            nothing.append(
                f"structured report {other.reference.sop_instance_uid}: no number of it is about a lesion of this study "
                "that a question asks for"
            )
    return tuple(numbers), tuple(nothing)


def _numbers(report: Report, plain: Report, other: Returned, template: Template) -> Iterator[TakenIn]:
    known = set(plain.answers)
    for answer in report.answers:
        item = template.item(answer.item)
        if answer in known or item is None:
            continue
        for value in answer.values:
            if isinstance(value, Quantity) and value.number is not None:
                yield TakenIn(
                    item=answer.item,
                    label=item.label,
                    value=value.number,
                    unit=value.unit.value,
                    status=answer.status,
                    provenance=answer.provenance,
                    basis=answer.basis,
                    lesion=answer.subject,
                    maker=other.foreign.manufacturer if other.foreign is not None else "",
                    source_sop_instance_uid=other.reference.sop_instance_uid,
                )
