"""Where proposals come from: one small function for each source that an item's ``prefill`` may name.

Each takes the context and the item, and returns the answers it can give: none where it knows nothing. Nothing is guessed: a value
that only *could* be so stays open.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from service.flow import technique
from service.flow.context import Context, Source, proposal, quantity
from service.flow.prefill_prior import prior_answer, prior_match, prior_nadir
from service.flow.prefill_relations import RELATION_SOURCES
from service.flow.prefill_series import SERIES_SOURCES
from service.flow.prefill_technique import TECHNIQUE_SOURCES
from service.model.measurement import Measurement, Reference, RegionKind, SegmentMeasurements
from service.model.prior import PriorReport
from service.model.report import Answer, Date, Provenance, Quantity, Status, Uid
from service.model.study import Study
from service.model.uids import derived_uid
from service.read.sop_classes import PRESENTATION_STATE
from sr_templates import Item

MM3_PER_CM3 = 1000
#: Code Value (0008,0100) is SH; a longer one would have to be a Long Code Value, which many archives drop
MAX_CODE_VALUE = 16
_PROCEDURES: Mapping[tuple[str, ...], str] = MappingProxyType({("CT",): "proc.ct_report", ("MR",): "proc.mr_report"})


def _header_number(keyword: str) -> Source:
    def source(context: Context, item: Item) -> tuple[Answer, ...]:
        number = context.series.header.number(keyword) if context.series else None
        value = quantity(item, number) if number else None
        return proposal(context, item, Provenance.DICOM, value) if value else ()

    return source


def _indication(context: Context, item: Item) -> tuple[Answer, ...]:
    texts = (
        ("reason for the request", "ReasonForTheRequestedProcedure"),
        ("requested procedure", "RequestedProcedureDescription"),
        ("study description", "StudyDescription"),
    )
    for basis, keyword in texts:
        found = sorted({" ".join(s.header.text(keyword).split()) for s in context.study.images} - {""})
        if found:
            return proposal(context, item, Provenance.DICOM, found[0][: item.max_length], basis=f"{basis}, not coded")
    return ()


def _procedure(context: Context, item: Item) -> tuple[Answer, ...]:
    codes = [c for c in context.study.procedure_codes if len(c.value) <= MAX_CODE_VALUE and c.meaning and c.scheme]
    if codes:
        return proposal(context, item, Provenance.DICOM, replace(codes[0], meaning=codes[0].meaning[:64].strip()))
    fallback = _PROCEDURES.get(context.study.modalities, "proc.imaging")
    return proposal(context, item, Provenance.DICOM, context.codes[fallback])


def _comparison(context: Context, item: Item) -> tuple[Answer, ...]:
    prior = context.prior
    if prior is None:
        return proposal(context, item, Provenance.RULE, "none in the registry")
    day = prior.study_date
    parts = [
        " and ".join(prior.modalities) or "examination",
        f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == len("YYYYMMDD") else "date not known",
        _standing(prior),
    ]
    if prior.accession_number:
        parts.insert(2, f"accession {prior.accession_number}")
    basis = "registry" if prior.reported else "asked for at the PACS"
    return proposal(context, item, Provenance.PRIOR, ", ".join(parts), basis=basis)


def _standing(prior: PriorReport) -> str:
    if not prior.reported:
        return "measurements, no report of ours"
    return f"report version {prior.version}, {'signed' if prior.signed else 'not signed'}"


def _comparison_uid(context: Context, item: Item) -> tuple[Answer, ...]:
    if context.prior is None:
        return ()
    return proposal(context, item, Provenance.PRIOR, Uid(context.prior.study_instance_uid), basis="registry")


def _comparison_date(context: Context, item: Item) -> tuple[Answer, ...]:
    if context.prior is None or not context.prior.study_date:
        return ()
    return proposal(context, item, Provenance.PRIOR, Date(context.prior.study_date), basis="registry")


def _comparison_interval(context: Context, item: Item) -> tuple[Answer, ...]:
    if context.prior is None:
        return ()
    try:
        then, now = (
            dt.datetime.strptime(d, "%Y%m%d").replace(tzinfo=dt.UTC)
            for d in (context.prior.study_date, context.study.date)
        )
    except ValueError:
        return ()
    value = quantity(item, (now - then).days)
    return proposal(context, item, Provenance.RULE, value, basis="study dates") if value else ()


def _study_date(context: Context, item: Item) -> tuple[Answer, ...]:
    return proposal(context, item, Provenance.DICOM, Date(context.study.date)) if context.study.date else ()


def _coverage(context: Context, item: Item) -> tuple[Answer, ...]:
    regions = technique.regions_of(context.study)
    values = tuple(context.codes[r] for r in regions)
    return proposal(context, item, Provenance.DICOM, *values, basis="body part examined") if values else ()


def _chest_covered(context: Context, item: Item) -> tuple[Answer, ...]:
    # never "No": a header without the word proves nothing
    if technique.CHEST_REGIONS.isdisjoint(technique.regions_of(context.study)):
        return ()
    return proposal(context, item, Provenance.DICOM, context.codes["v.yes"], basis="body part examined")


def _contrast_given(context: Context, item: Item) -> tuple[Answer, ...]:
    # never "No": an empty Contrast/Bolus Agent proves nothing
    if not technique.contrast_agent_named(context.study):
        return ()
    return proposal(context, item, Provenance.DICOM, context.codes["v.yes"], basis="contrast agent named in the header")


MODALITIES = {"CT": "mod.ct", "MR": "mod.mr", "US": "mod.us", "PT": "mod.pt", "NM": "mod.nm", "XA": "mod.xa"}


def _series_modality(context: Context, item: Item) -> tuple[Answer, ...]:
    key = MODALITIES.get(context.series.modality) if context.series else None
    return proposal(context, item, Provenance.DICOM, context.codes[key]) if key else ()


def _enhancement_phase(context: Context, item: Item) -> tuple[Answer, ...]:
    if context.series is None or context.series.modality not in item.modalities:
        return ()
    key, basis = technique.phase_of(context.series)
    return proposal(context, item, Provenance.DICOM, context.codes[key], basis=basis) if key else ()


def _tracking_identifier(context: Context, item: Item) -> tuple[Answer, ...]:
    return proposal(context, item, Provenance.RULE, context.subject.tracking_id) if context.subject else ()


def _tracking_uid(context: Context, item: Item) -> tuple[Answer, ...]:
    return proposal(context, item, Provenance.RULE, Uid(context.subject.tracking_uid)) if context.subject else ()


def _finding(context: Context, item: Item) -> tuple[Answer, ...]:
    # whatever the segment's type says (tumour, neoplasm, GTV): before tissue diagnosis the finding is a mass
    if context.segment is None:
        return ()
    return proposal(context, item, Provenance.SEGMENTATION, context.codes["tum.mass"], basis=context.segment.role_basis)


def _finding_category(context: Context, item: Item) -> tuple[Answer, ...]:
    if context.segment is None:
        return ()
    return proposal(
        context, item, Provenance.SEGMENTATION, context.codes["cat.morph_abnormal"], basis=context.segment.role_basis
    )


def _laterality(context: Context, item: Item) -> tuple[Answer, ...]:
    if context.segment is None or not context.segment.laterality:
        return ()
    side = context.codes[context.segment.laterality]
    return proposal(context, item, Provenance.SEGMENTATION, side, basis=context.segment.laterality_basis)


def several_lesions(tumours: tuple[SegmentMeasurements, ...]) -> int:
    """Return how many tumour segments the richest SEG holds: CT and PET masks of one tumour are not two lesions."""
    sources = [t.source.sop_instance_uid for t in tumours]
    return max((sources.count(s) for s in sources), default=0)


def _lesion_load(context: Context, item: Item) -> tuple[Answer, ...]:
    # one segment proves no solitary lesion; several in one SEG do say "multiple"
    count = several_lesions(context.tumours)
    for low, high, key in ((2, 5, "load.2_5"), (6, 10, "load.6_10"), (11, 10**6, "load.gt10")):
        if low <= count <= high:
            return proposal(
                context,
                item,
                Provenance.SEGMENTATION,
                context.codes[key],
                basis=f"{count} tumour segments in one segmentation",
            )
    return ()


#: HU that the labels of fractions speak of: a fraction below another threshold is measured, and proposed to no question
_THRESHOLDS: Mapping[str, float] = MappingProxyType({"ms.low_att_fraction": 30.0, "ms.fat_att_fraction": -20.0})
#: of the statistics of an item those that a report is proposed; of the others none
_PROPOSED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ct.hu": ("deriv.mean", "deriv.sd"),
        "pet.suvbw": ("deriv.max", "deriv.mean", "deriv.peak"),
        "mr.adc": ("deriv.mean", "deriv.sd", "deriv.p10"),
    }
)


def _measured(context: Context, item: Item) -> tuple[Answer, ...]:
    """Propose what was measured on the lesion's mark; what only another mark of it can say, from that one."""
    if context.segment is None or context.subject is None:
        return ()
    for mark in (context.segment, *context.further):
        proposed = _PROPOSED.get(item.key, ("",))
        wanted = [
            m
            for key in proposed
            for m in mark.measurements
            if (m.name, m.derivation) == (item.key, key)
            and m.threshold in {None, _THRESHOLDS.get(item.key, m.threshold)}
        ]
        answers = []
        for m in wanted:
            value = quantity(item, m.value / MM3_PER_CM3 if m.unit == "mm3" else m.value)
            if value is not None:
                answers.append(_measurement(context, item, m, value, mark))
        if answers:
            return tuple(answers)
    return ()


def _resting_on(context: Context, m: Measurement) -> tuple[Reference, ...]:
    """Return what a number rests on beside its segment.

    An attenuation rests on a series, with its phase and tube voltage, which the segment does not name: the image of the long axis does.
    """
    own = tuple(
        e
        for e in m.evidence
        # a line is written down with its number, and not the presentation state that it was drawn in
        if (context.subject is None or e != context.subject.segment) and e.sop_class_uid != PRESENTATION_STATE
    )
    if own or m.name != "ct.hu" or context.segment is None:
        return own
    lines = [e for n in context.segment.measurements if n.name == "sz.long_axis" for e in n.evidence if e.points]
    return tuple(replace(e, points=()) for e in lines[:1])


def _measurement(context: Context, item: Item, m: Measurement, value: Quantity, mark: SegmentMeasurements) -> Answer:
    drawn = mark.kind is RegionKind.LINE
    volume = item.key == "sz.volume"
    return Answer(
        item=item.key,
        subject=context.subject.key if context.subject else "",
        values=(value,),
        status=Status.PROPOSED,
        # a person drew a line; what a mask marks was computed
        provenance=Provenance.MEASUREMENT_SR if drawn else Provenance.SEGMENTATION,
        basis=m.method,
        derivation=context.codes[m.derivation] if m.derivation else None,
        method=context.codes["sz.method_voxel"] if volume else None,
        evidence=tuple(_rounded(e) for e in _resting_on(context, m)),
    )


def _rounded(reference: Reference) -> Reference:
    """Round points to a hundredth of a pixel: an SR keeps single precision, and what is read back has to equal what was written."""
    return replace(reference, points=tuple((round(x, 2), round(y, 2)) for x, y in reference.points))


def _size_basis(context: Context, item: Item) -> tuple[Answer, ...]:
    if context.segment is None or not any(m.name.startswith("sz.") for m in context.segment.measurements):
        return ()
    drawn = context.segment.kind is RegionKind.LINE
    return proposal(context, item, Provenance.RULE, context.codes["szb.manual" if drawn else "szb.seg"])


def _staging_system(context: Context, item: Item) -> tuple[Answer, ...]:
    return proposal(context, item, Provenance.RULE, context.codes["st.system"]) if context.tumours else ()


def _device_name(context: Context, item: Item) -> tuple[Answer, ...]:
    return proposal(context, item, Provenance.RULE, context.device.name)


def _device_uid(context: Context, item: Item) -> tuple[Answer, ...]:
    return proposal(context, item, Provenance.RULE, Uid(context.device.uid))


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "indication": _indication,
        "procedure": _procedure,
        "comparison": _comparison,
        "comparison_uid": _comparison_uid,
        "comparison_date": _comparison_date,
        "comparison_interval": _comparison_interval,
        "study_date": _study_date,
        "coverage": _coverage,
        "chest_covered": _chest_covered,
        "contrast_given": _contrast_given,
        "series_modality": _series_modality,
        "slice_thickness": _header_number("SliceThickness"),
        "tube_voltage": _header_number("KVP"),
        "enhancement_phase": _enhancement_phase,
        "tracking_identifier": _tracking_identifier,
        "tracking_uid": _tracking_uid,
        "finding": _finding,
        "finding_category": _finding_category,
        "laterality": _laterality,
        "lesion_load": _lesion_load,
        "measured": _measured,
        "size_basis": _size_basis,
        "staging_system": _staging_system,
        "device_name": _device_name,
        "device_uid": _device_uid,
        "prior": prior_answer,
        "prior_match": prior_match,
        "prior_nadir": prior_nadir,
        **RELATION_SOURCES,
        **SERIES_SOURCES,
        **TECHNIQUE_SOURCES,
    }
)
"""What an item's ``prefill`` may name."""


def tracking_uid(study: Study, identifier: str) -> str:
    """Return the tracking UID of a lesion that no object gave one: the same for every draft of the study."""
    return derived_uid("lesion", study.patient.issuer, study.patient.patient_id, study.study_instance_uid, identifier)
