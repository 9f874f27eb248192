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
from service.flow import matching
from service.flow.carry import Difference, carry
from service.flow.comparability import with_mismatches
from service.flow.compose import Facts, compose, marks
from service.flow.context import Device
from service.flow.derive import derive
from service.flow.honesty import MEASURING
from service.flow.lifecycle import State
from service.flow.taking import Look, Returned, take
from service.model.measurement import Reference, SegmentMeasurements
from service.model.prior import PriorReport
from service.model.report import CompletionFlag, Report
from service.model.report_json import content_hash
from service.model.signing import EVIDENCE, Predecessor, Signature
from service.model.study import Series, Study
from service.model.uids import derived_uid
from service.settings import Clinical, Measuring
from service.sr import gate, rejection
from service.sr.basic_text import BASIC_TEXT_SR, basic_text, withdrawn_text
from service.sr.companion import Profile, companion
from service.sr.document import Envelope, document, to_bytes
from service.sr.encapsulated_pdf import ENCAPSULATED_PDF
from service.sr.encode import Presentation, encode
from service.sr.items import ContentItem
from service.sr.key_image import SECONDARY_CAPTURE
from service.sr.key_objects import KEY_OBJECT_SELECTION
from service.sr.phrases import ENGLISH, wording
from service.sr.presentation_state import GRAYSCALE_SOFTCOPY_PRESENTATION_STATE
from sr_templates import Template, load_template
from sr_templates.evaluate import DEFAULTS

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"

#: which classes a coded rendition may take, best first (docs/architecture.md): the first that the destination accepts
SR_CLASSES = (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR)
#: the report in words, where a destination takes none of them
LADDER = (*SR_CLASSES, BASIC_TEXT_SR, ENCAPSULATED_PDF)
CLASS_NAMES: Mapping[str, str] = MappingProxyType(
    {
        COMPREHENSIVE_3D_SR: "Comprehensive 3D SR",
        COMPREHENSIVE_SR: "Comprehensive SR",
        ENHANCED_SR: "Enhanced SR",
        BASIC_TEXT_SR: "Basic Text SR",
        ENCAPSULATED_PDF: "Encapsulated PDF",
        SECONDARY_CAPTURE: "Secondary Capture",
        KEY_OBJECT_SELECTION: "Key Object Selection",
        GRAYSCALE_SOFTCOPY_PRESENTATION_STATE: "Grayscale Softcopy Presentation State",
    }
)

Kind = Literal["report", "companion", "rejection", "pdf", "key-image", "key-objects", "presentation"]
#: what a destination may get beside the SRs (`service.flow.objects`)
EXTRAS: tuple[Kind, ...] = ("pdf", "key-image", "key-objects", "presentation")
#: documents that later versions replace; a rejection note stands by itself
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
    #: what report and page are written in: ``en``, or a file of ``sr_templates/languages``
    language: str = "en"
    series_number: int = 9901
    companion_series_number: int = 9902
    rejection_series_number: int = 9909
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
    state: State = State.DRAFT
    #: who says that it is right; None: nobody yet
    signature: Signature | None = None
    #: content hash of what the facts say by themselves
    facts_hash: str = ""
    #: SRs of others whose content is in the report
    included: tuple[Reference, ...] = ()
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One object for one kind of destination, frozen: a retry sends these bytes."""

    kind: Kind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    part10: bytes

    @property
    def reference(self) -> Reference:
        """Return a pointer to the object."""
        return Reference(
            sop_class_uid=self.sop_class_uid,
            sop_instance_uid=self.sop_instance_uid,
            series_instance_uid=self.series_instance_uid,
        )


def produce(
    study: Study,
    measurements: tuple[SegmentMeasurements, ...],
    prior: PriorReport | None,
    options: Options,
    *,
    returned: tuple[Returned, ...] = (),
    before: Report | None = None,
    clinical: Clinical = DEFAULTS,
    measuring: Measuring = MEASURING,
) -> Produced:
    """Compose the draft of a study.

    Parameters
    ----------
    study, measurements, prior, options:
        The facts, and what the installation wants.
    returned:
        SRs of others in the study, and edits of ours: their content is taken in.
    before:
        The version that stands: what a person confirmed in it stays.
    clinical:
        Thresholds of derivations.
    measuring:
        How far a length may differ from its own line.

    Raises
    ------
    TemplateError
        The template cannot be loaded.
    """
    template = load_template(options.template)
    study = without(study, options.ours)
    facts = Facts(
        study=study,
        device=device(options),
        segments=measurements,
        prior=prior,
        remarks=options.remarks,
        clinical=clinical,
    )
    look = Look(marks=marks(measurements), spacings=spacings(study), measuring=measuring)
    taken = take(compose(facts, template), returned, template, look)
    fresh = _asking(derive(taken.report, template, clinical, prior=prior), template, clinical, prior)
    report, differences = fresh, taken.differences
    if before is not None:
        carried = carry(taken.report, before, template, taken.differences)
        report = _asking(derive(carried.report, template, clinical, prior=prior), template, clinical, prior)
        differences = carried.differences
    return Produced(
        report=report,
        content_hash=content_hash(report),
        study=study,
        template=template,
        options=options,
        facts_hash=content_hash(fresh),
        included=taken.included,
        differences=tuple(dict.fromkeys(differences)),
    )


def _asking(report: Report, template: Template, clinical: Clinical, prior: PriorReport | None) -> Report:
    """Return a report that asks about lesions which one time point shows and another does not, and says what cannot be compared."""
    report = with_mismatches(report, template, clinical, prior)
    return replace(report, remarks=(*report.remarks, *matching.questions(report, prior)))


def taken_in(produced: Produced) -> tuple[Predecessor, ...]:
    """Return the SRs of others whose content is in the report, as its document has to name them (CID 7009)."""
    return tuple(
        Predecessor(
            sop_class_uid=r.sop_class_uid,
            sop_instance_uid=r.sop_instance_uid,
            series_instance_uid=r.series_instance_uid,
            purpose=EVIDENCE,
        )
        for r in produced.included
    )


def device(options: Options) -> Device:
    """Return the device observer: this software, in this installation."""
    return Device(name=f"LMS-SR {__version__}", uid=derived_uid("device", options.installation))


def reproduce(
    report: Report,
    study: Study,
    options: Options,
    *,
    state: State = State.DRAFT,
    signature: Signature | None = None,
) -> Produced:
    """Return a report that stands in the registry, ready to take a shape.

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
        state=state,
        signature=signature,
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
    lines: bool = True,
) -> tuple[Rendition, ...]:
    """Return the report and, where there are lines to draw, its companion, checked and frozen.

    ``predecessors``: the documents of the same kind that each replaces; ``lines``: whether the companion is wanted.

    The report allows Comprehensive 3D, Comprehensive and Enhanced SR; the companion has graphics in image coordinates, which all
    three can hold. As Basic Text SR the report is words alone, and nothing stands beside it.

    Raises
    ------
    GateError
        A rendition failed a check; nothing of it may be sent.
    """
    report, study = produced.report, produced.study
    envelope = _envelope(produced, "report", sop_class_uid, profile, version, created_at)
    envelope = replace(envelope, predecessors=predecessors.get("report", ()))
    root = _root(produced, words_only=sop_class_uid == BASIC_TEXT_SR)
    first = rendition("report", envelope, to_bytes(document(root, study, envelope), study, envelope))
    if sop_class_uid == BASIC_TEXT_SR:
        gate.check_text(first.part10, study=study)
        return (first,)
    gate.check(first.part10, report=report, template=produced.template, study=study)
    drawn = companion(report, produced.template, spacings(study), profile) if lines else None
    if drawn is None:
        return (first,)
    twin = _envelope(produced, "companion", sop_class_uid, profile, version, created_at)
    twin = replace(
        twin,
        predecessors=predecessors.get("companion", ()),
        # the report is named as evidence, never as predecessor: a companion replaces companions only
        further_evidence=(first.reference,),
    )
    second = rendition("companion", twin, to_bytes(document(drawn, study, twin), study, twin))
    gate.check(second.part10, report=report, template=produced.template, study=study, companion=True)
    return first, second


def _root(produced: Produced, *, words_only: bool) -> ContentItem:
    report, template = produced.report, produced.template
    if produced.state is State.WITHDRAWN:
        return withdrawn_text(report, template) if words_only else rejection.withdrawn(report, template)
    flag = CompletionFlag.COMPLETE if produced.signature else CompletionFlag.PARTIAL
    options = produced.options
    language = wording(options.language).language
    shown = Presentation(completion=flag, complete_at=options.complete_at, language=language)
    return basic_text(report, template, shown) if words_only else encode(report, template, shown)


def _envelope(
    produced: Produced, kind: Kind, sop_class_uid: str, profile: Profile, version: int, created_at: dt.datetime
) -> Envelope:
    options, study_uid = produced.options, produced.study.study_instance_uid
    is_report = kind == "report"
    # the profile words the companion only: two destinations of one class share the report
    identity: tuple[str, ...] = (kind, options.installation, study_uid, options.template, str(version), sop_class_uid)
    if is_report and options.language != ENGLISH.language.code:
        # a report in another language is another document; the companion says nothing in it
        identity = (*identity, options.language)
    return Envelope(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=derived_uid(*identity, "" if is_report else profile, produced.content_hash),
        series_instance_uid=series_uid(options, study_uid, kind),
        series_number=options.series_number if is_report else options.companion_series_number,
        series_description="LMS report" if is_report else "LMS measurements",
        version=version,
        created_at=created_at,
        timezone=options.timezone,
        signature=produced.signature,
    )


def rejection_note(
    produced: Produced, rejected: tuple[Reference, ...], *, version: int, description: str, created_at: dt.datetime
) -> Rendition:
    """Return the note that says which documents are not to be used any more (`service.sr.rejection`), frozen.

    The same documents give the same note.
    """
    options, study = produced.options, produced.study
    uids = sorted(r.sop_instance_uid for r in rejected)
    envelope = Envelope(
        sop_class_uid=KEY_OBJECT_SELECTION,
        sop_instance_uid=derived_uid("rejection", options.installation, study.study_instance_uid, str(version), *uids),
        series_instance_uid=series_uid(options, study.study_instance_uid, "rejection"),
        series_number=options.rejection_series_number,
        series_description="LMS rejection note",
        version=version,
        created_at=created_at,
        timezone=options.timezone,
    )
    by_uid = {r.sop_instance_uid: r for r in rejected}
    part10 = rejection.note(
        tuple(by_uid[u] for u in uids), study, envelope, description=description, device_uid=device(options).uid
    )
    return rendition("rejection", envelope, part10)


def rendition(kind: Kind, envelope: Envelope, part10: bytes) -> Rendition:
    """Return the object that ``envelope`` names, frozen."""
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
