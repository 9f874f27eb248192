"""A full report to an SR and back: baseline, three segmented lesions, every row of every matrix, an answer to every question.

The bars: building the content tree takes at most 1.5 times what highdicom takes for the measurement groups of the three lesions alone,
with the same numbers and evaluations in them; reading a file back takes no longer than making it.
"""

from __future__ import annotations

import io
import random
import statistics
import time
from collections.abc import Callable

from highdicom.sr import (
    CodedConcept,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import dcmread
from pydicom.dataset import Dataset

from service.flow.produce import COMPREHENSIVE_SR, produce
from service.model.code import Code
from service.model.report import Quantity, Report, Scope, Subject
from service.sr.document import Envelope, document, to_bytes
from service.sr.encode import Presentation, encode
from service.sr.parse import parse
from sr_templates import Template
from tests import builders as b
from tests.filled import filled

ROUNDS = 15
LESIONS = 3
ENVELOPE = Envelope(
    sop_class_uid=COMPREHENSIVE_SR,
    sop_instance_uid="2.25.1",
    series_instance_uid="2.25.2",
    series_number=1,
    series_description="LMS report",
    version=1,
    created_at=b.CREATED_AT,
)
TITLE = "A full report of three lesions: its content tree, the file, and back, beside highdicom's classes"


def table() -> str:
    """Measure and return a Markdown table."""
    produced = produce(b.study(), tuple(b.tumour(n + 1) for n in range(LESIONS)), None, b.OPTIONS)
    template, study = produced.template, produced.study
    report = filled(produced.report, template, random.Random(1), person="Reader^One")

    def tree() -> object:
        return encode(report, template, Presentation())

    def file() -> bytes:
        return to_bytes(document(encode(report, template, Presentation()), study, ENVELOPE), study, ENVELOPE)

    part10 = file()

    def back() -> Report:
        return parse(dcmread(io.BytesIO(part10)), template)

    if back() != report:
        msg = "the report does not read back as itself"
        raise RuntimeError(msg)
    plain, built, made, read = _medians(lambda: by_highdicom(report, template), tree, file, back)
    children = sum(len(g.ContentSequence) for g in _groups(report, template))
    rows = [
        f"| highdicom: three groups, {children} rows | {plain:.3f} | |",
        f"| the content tree, {len(report.answers)} answers | {built:.3f} | {built / plain:.2f} of highdicom's |",
        f"| the file, {len(part10):,} bytes | {made:.3f} | |",
        f"| the file read back | {read:.3f} | {read / made:.2f} of making it |",
    ]
    return "| | seconds, median of 15 | ratio |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _medians(*jobs: Callable[[], object]) -> list[float]:
    """Return the median time of each, measured in turn, so that a busy machine is busy for all."""
    found: list[list[float]] = [[] for _ in jobs]
    for number in range(ROUNDS + 1):
        for job, seconds in zip(jobs, found, strict=True):
            start = time.perf_counter()
            job()
            if number:  # the first one pays for what is kept
                seconds.append(time.perf_counter() - start)
    return [statistics.median(s) for s in found]


def by_highdicom(report: Report, template: Template) -> MeasurementReport:
    """Return the lesions' measurement groups as highdicom's own classes build them."""
    device = ObserverContext(
        observer_type=CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(uid="2.25.5"),
    )
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device),
        procedure_reported=CodedConcept("25045-6", "LN", "CT unspecified body region"),
        imaging_measurements=[_group(report, template, s) for s in report.subjects_of(Scope.LESION)],
    )


def _groups(report: Report, template: Template) -> list[Dataset]:
    return [_group(report, template, s)[0] for s in report.subjects_of(Scope.LESION)]


def _group(report: Report, template: Template, subject: Subject) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    segment = subject.segment
    if segment is None:
        raise ValueError(subject.key)
    numbers, evaluations = [], []
    for answer in report.answers:
        item = template.item(answer.item)
        if item is None or answer.subject != subject.key:
            continue
        for value in answer.values:
            if isinstance(value, Quantity) and value.number is not None:
                numbers.append(
                    Measurement(
                        name=_concept(item.concept),
                        value=float(value.number),
                        unit=_concept(value.unit),
                        method=_concept(answer.method) if answer.method else None,
                        derivation=_concept(answer.derivation) if answer.derivation else None,
                    )
                )
            elif isinstance(value, Code):
                evaluations.append(QualitativeEvaluation(name=_concept(item.concept), value=_concept(value)))
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=subject.tracking_uid, identifier=subject.tracking_id),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segment.sop_class_uid,
            sop_instance_uid=segment.sop_instance_uid,
            segment_number=segment.segment,
            source_series=SourceSeriesForSegmentation(b.series_uid(2)),
        ),
        measurements=numbers,
        qualitative_evaluations=evaluations,
    )


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, code.meaning[:64])
