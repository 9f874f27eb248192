"""A study's facts to the objects that go to the PACS: compose, encode, check. Pure: same facts, same bytes."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from service import __version__
from service.flow.compose import Facts, compose
from service.flow.prefill import Device
from service.model.measurement import Reference, SegmentMeasurements
from service.model.prior import PriorReport
from service.model.report import Report
from service.model.report_json import content_hash
from service.model.study import Series, Study
from service.model.uids import derived_uid
from service.sr import gate
from service.sr.companion import Profile, companion
from service.sr.document import Envelope, document, to_bytes
from service.sr.encode import Presentation, encode
from sr_templates import Template, load_template

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"

#: which classes a rendition may take, best first (docs/architecture.md): the first that the destination accepts
SR_CLASSES = (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR)
CLASS_NAMES: Mapping[str, str] = MappingProxyType(
    {COMPREHENSIVE_3D_SR: "Comprehensive 3D SR", COMPREHENSIVE_SR: "Comprehensive SR", ENHANCED_SR: "Enhanced SR"}
)

Kind = Literal["report", "companion"]
KINDS: tuple[Kind, ...] = ("report", "companion")
#: a first version replaces nothing
NO_PREDECESSORS: Mapping[Kind, tuple[Reference, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a report needs to know of this installation."""

    #: unique to the installation: part of every UID that we make
    installation: str
    template: str = "baseline"
    timezone: str = "UTC"
    series_number: int = 9901
    companion_series_number: int = 9902
    #: address of the page where the report can be completed; empty: none
    complete_at: str = ""
    remarks: tuple[str, ...] = ()
    #: SOP Instance UIDs that our outbox sent: they come back by auto-forward and are no evidence of themselves
    ours: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Produced:
    """A composed report, before it takes the shape that a destination accepts."""

    report: Report
    content_hash: str
    study: Study
    template: Template
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One object for one kind of destination, frozen: a retry sends these bytes."""

    kind: Kind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    part10: bytes


def produce(
    study: Study, measurements: tuple[SegmentMeasurements, ...], prior: PriorReport | None, options: Options
) -> Produced:
    """Compose the draft of a study.

    Raises
    ------
    TemplateError
        The template cannot be loaded.
    """
    template = load_template(options.template)
    study = without(study, options.ours)
    device = Device(name=f"LMS-SR {__version__}", uid=derived_uid("device", options.installation))
    facts = Facts(study=study, device=device, segments=measurements, prior=prior, remarks=options.remarks)
    report = compose(facts, template)
    return Produced(report=report, content_hash=content_hash(report), study=study, template=template, options=options)


def reproduce(report: Report, study: Study, options: Options) -> Produced:
    """Return a report that was composed before, ready to take another shape.

    Raises
    ------
    TemplateError
        The template cannot be loaded.
    """
    return Produced(
        report=report,
        content_hash=content_hash(report),
        study=without(study, options.ours),
        template=load_template(options.template),
        options=options,
    )


def without(study: Study, ours: frozenset[str]) -> Study:
    """Return the study without the instances that we made ourselves."""
    if not ours:
        return study
    kept: list[Series] = []
    for series in study.series:
        instances = tuple(i for i in series.instances if i.sop_instance_uid not in ours)
        if instances:
            kept.append(replace(series, instances=instances))
    return replace(study, series=tuple(kept))


def completion_address(public_url: str, installation: str, study_instance_uid: str) -> str:
    """Return where a reader completes the report of a study, short enough to be typed; empty without a page."""
    if not public_url:
        return ""
    digest = hashlib.sha256(f"{installation} {study_instance_uid}".encode()).digest()
    code = base64.b32encode(digest[:5]).decode()
    return f"{public_url.rstrip('/')}/r/{code[:4]}-{code[4:]}"


def series_uid(options: Options, study_instance_uid: str, kind: Kind) -> str:
    """Return the Series Instance UID of our reports, or companions, in a study: one series for all versions."""
    return derived_uid("series", options.installation, study_instance_uid, options.template, kind)


def renditions(
    produced: Produced,
    *,
    sop_class_uid: str,
    profile: Profile,
    version: int,
    predecessors: Mapping[Kind, tuple[Reference, ...]] = NO_PREDECESSORS,
    created_at: dt.datetime,
) -> tuple[Rendition, ...]:
    """Return the report and, where there are lines to draw, its companion, checked and frozen.

    ``predecessors``: the documents of the same kind that each replaces.

    The report allows Comprehensive 3D, Comprehensive and Enhanced SR; the companion has graphics in image coordinates, which all
    three can hold.

    Raises
    ------
    GateError
        A rendition failed a check; nothing of it may be sent.
    """
    report, study, options = produced.report, produced.study, produced.options
    root = encode(report, produced.template, Presentation(complete_at=options.complete_at))
    envelope = _envelope(produced, "report", sop_class_uid, profile, version, created_at)
    envelope = replace(envelope, predecessors=predecessors.get("report", ()))
    first = _rendition("report", envelope, to_bytes(document(root, study, envelope), study, envelope))
    gate.check(first.part10, report=report, template=produced.template, study=study)
    drawn = companion(report, produced.template, spacings(study), profile)
    if drawn is None:
        return (first,)
    twin = _envelope(produced, "companion", sop_class_uid, profile, version, created_at)
    twin = replace(
        twin,
        predecessors=predecessors.get("companion", ()),
        # the report is named as evidence, never as predecessor: a companion replaces companions only
        further_evidence=(
            Reference(
                sop_class_uid=first.sop_class_uid,
                sop_instance_uid=first.sop_instance_uid,
                series_instance_uid=first.series_instance_uid,
            ),
        ),
    )
    second = _rendition("companion", twin, to_bytes(document(drawn, study, twin), study, twin))
    gate.check(second.part10, report=report, template=produced.template, study=study, companion=True)
    return first, second


def _envelope(
    produced: Produced, kind: Kind, sop_class_uid: str, profile: Profile, version: int, created_at: dt.datetime
) -> Envelope:
    options, study_uid = produced.options, produced.study.study_instance_uid
    is_report = kind == "report"
    # the profile words the companion only: two destinations of one class share the report
    identity = (kind, options.installation, study_uid, options.template, str(version), sop_class_uid)
    return Envelope(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=derived_uid(*identity, "" if is_report else profile, produced.content_hash),
        series_instance_uid=series_uid(options, study_uid, kind),
        series_number=options.series_number if is_report else options.companion_series_number,
        series_description="LMS report" if is_report else "LMS measurements",
        version=version,
        created_at=created_at,
        timezone=options.timezone,
    )


def _rendition(kind: Kind, envelope: Envelope, part10: bytes) -> Rendition:
    return Rendition(
        kind=kind,
        sop_class_uid=envelope.sop_class_uid,
        sop_instance_uid=envelope.sop_instance_uid,
        series_instance_uid=envelope.series_instance_uid,
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        part10=part10,
    )


def spacings(study: Study) -> dict[str, tuple[float, float]]:
    """Return SOP Instance UID → (row, column) Pixel Spacing (0028,0030) in mm of the images that state it."""
    found: dict[str, tuple[float, float]] = {}
    for series in study.images:
        for instance in series.instances:
            values = instance.own.get("PixelSpacing") or instance.header.texts("PixelSpacing")
            try:
                row, column = (float(v) for v in values)
            except ValueError:
                continue
            found[instance.sop_instance_uid] = (row, column)
    return found
